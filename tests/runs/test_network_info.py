"""The description that every exported file carries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.system.errors import KrespError
from kresp3d.system.version import __version__

CLIP = ClipFormat(frames=4, step=1, size=16, frame_stride=2, fps=15, short_side=32)
INFO = NetworkInfo(name="tiny", format="litert", quantize="int8", labels=("a b", "ü"), clip=CLIP, clips=3, source="0f")
FILE = Path("x.tflite")


def test_comes_back_from_its_text_as_it_was():
    assert NetworkInfo.from_text(INFO.to_text(), FILE) == INFO


def test_its_text_tells_a_reader_without_kresp3d_what_the_clip_is():
    values = json.loads(INFO.to_text())
    assert values["labels"] == ["a b", "ü"] and values["kresp3d"] == __version__
    assert values["clip"] == {
        "frames": 4,
        "step": 1,
        "size": 16,
        "frame_stride": 2,
        "fps": 15.0,
        "short_side": 32,
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 3}, r"another version.*version 3, expected 2.*export the run again"),
        (
            {"version": 1},
            r"format 1, which took the feature residual of .* input, not .*train it again, and export that",
        ),
        ({"labels": ["one"]}, r"damaged description \(labels: .*at least 2"),
        ({"clip": {"frames": 4}}, r"damaged description \(clip\.size: .*required"),
        ({"format": "pickle"}, r"damaged description \(format: "),
    ],
)
def test_another_version_and_a_damaged_one_get_a_sentence_each(change, words):
    text = json.dumps({**json.loads(INFO.to_text()), **change})
    with pytest.raises(KrespError, match=rf"^x\.tflite .*{words}"):
        NetworkInfo.from_text(text, FILE)


@pytest.mark.parametrize("text", ["", "{", "[]", b"\xff\x00"])
def test_what_is_no_description_gets_a_sentence(text):
    with pytest.raises(KrespError, match=r"x\.tflite carries a damaged description"):
        NetworkInfo.from_text(text, FILE)

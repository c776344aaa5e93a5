"""Comparing an exported network with the trained one, by hand-made scores."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.export.parity import choose, compare, parity_table, score
from kresp3d.inference.engine import Engine
from kresp3d.inference.keras_engine import KerasEngine
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.runs.run_folder import RunFolder

CLIP = ClipFormat(frames=4, step=1, size=16, frame_stride=1, fps=15, short_side=32)


class Known(Engine):
    """An engine of a given format that is not run here."""

    def __init__(self, quantize="none", form="litert"):
        labels = ("a", "b", "c")
        super().__init__(
            NetworkInfo(name="n", format=form, quantize=quantize, labels=labels, clip=CLIP, clips=2, source="")
        )

    def _score(self, frames):
        raise AssertionError("not run")


def made_of(videos):
    """Two clips for each of the given best classes, sure of themselves."""
    return np.repeat(np.eye(3, dtype=np.float32)[videos] * 0.8 + 0.1, 2, axis=0) / 1.1


def test_differences_and_agreement_are_over_clips_and_top1_over_videos():
    trained = made_of([0, 1, 2, 0])
    scores = trained.copy()
    scores[0] = [0.3, 0.4, 0.3]  # its video's mean is still right
    scores[6:] = made_of([1])  # a video lost
    parity = compare("n.tflite", Known(), "float32", scores, trained, np.array([0, 1, 2, 0]))
    assert (parity.clips, parity.videos) == (8, 4)
    assert parity.max_difference == pytest.approx(0.8 / 1.1)
    assert parity.mean_difference == pytest.approx(np.abs(scores - trained).mean())
    assert parity.top1_agreement == 5 / 8
    assert (parity.video_top1, parity.video_top1_trained) == (0.75, 1.0)


def parity(quantize="none", precision="float32", **values):
    labels = np.array([0, 1, 2, 0])
    found = compare("n", Known(quantize), precision, made_of(labels), made_of(labels), labels)
    return replace(found, **values)


@pytest.mark.parametrize(
    ("quantize", "precision", "values", "within"),
    [
        ("none", "float32", {"max_difference": 0.9e-4}, True),
        ("none", "float32", {"max_difference": 1.1e-4}, False),
        ("float16", "float32", {"max_difference": 0.9e-2}, True),
        ("float16", "float32", {"max_difference": 1.1e-2}, False),
        ("int8", "float32", {"max_difference": 0.5, "videos": 1000, "video_top1": 0.99}, True),
        ("int8", "float32", {"videos": 1000, "video_top1": 0.989}, False),
        ("int8", "float32", {"videos": 4, "video_top1": 0.75, "top1_agreement": 0.9}, True),  # one video of four
        ("int8", "float32", {"videos": 4, "video_top1": 0.75, "top1_agreement": 0.89}, False),
        ("int8", "float32", {"videos": 4, "video_top1": 0.5}, False),
        ("int8", "float32", {"videos": 1, "video_top1": 0.0, "top1_agreement": 0.5}, False),
        ("int8", "float32", {"videos": 99, "top1_agreement": 0.89}, False),
        ("int8", "float32", {"videos": 100, "top1_agreement": 0.89}, True),
        ("dynamic", "float32", {"videos": 1000, "video_top1": 0.98}, False),
        ("none", "bfloat16", {"max_difference": 0.1, "videos": 1000, "video_top1": 0.995}, True),
        ("none", "float32", {"max_difference": float("nan")}, False),
        ("none", "float32", {"rounds": True, "max_difference": 0.1}, True),
        ("none", "float32", {"rounds": True, "video_top1": 0.5}, False),
        ("none", "float32", {"rounds": True, "videos": 1000, "top1_agreement": 0.89}, False),
    ],
)
def test_each_format_has_its_tolerance(quantize, precision, values, within):
    found = parity(quantize, precision, **values)
    assert found.within is within and (found.fault is None) is within


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (parity(max_difference=0.0234), "in float32 a probability differs by 0.023, and may by 0.0001"),
        (
            parity("int8", videos=1000, video_top1=0.5),
            "in float32 video top-1 is 50.0 % instead of 100.0 %, and may fall by 1 points",
        ),
        (
            parity(precision="bfloat16", top1_agreement=0.5),
            "in bfloat16 50.0 % of the clips keep their best class, and with fewer than 100 videos 90.0 % must",
        ),
    ],
)
def test_a_fault_names_the_precision_the_measured_and_the_allowed(row, words):
    assert row.fault == words


def test_a_file_stands_or_falls_by_float32_alone():
    bad = {"videos": 1000, "video_top1": 0.5}
    found = [parity("int8", **bad), parity(precision="bfloat16", **bad), parity(precision="bfloat16")]
    assert [row.verdict for row in found] == ["rejected", "too far", "ok"]


def test_the_table_says_what_was_rejected_and_why():
    rows = [
        parity(),
        replace(parity("int8", videos=1000, video_top1=0.5), artefact="n-int8.tflite", size=2_500_000, latency=0.0123),
    ]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(parity_table(rows, "validation"))
    text = console.export_text()
    assert "of 4 validation videos" in text and "than the" not in text
    good, bad = (line for line in text.splitlines() if line.strip().startswith("n"))
    assert good.rstrip().endswith(" ok") and "100.0 %" in good
    assert bad.rstrip().endswith(" rejected") and " 2.5 " in bad and " 12.3 " in bad


def test_the_table_says_when_there_are_too_few_videos_for_a_point():
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(parity_table([parity(), parity("int8")], "test"))
    # Wrapped as wide as the table is.
    text = " ".join(console.export_text().split())
    assert "One of 4 videos is more than the 1 % that video top-1 may fall by, so 90.0 % of the clips must keep" in text


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(1, 80))
def test_videos_are_chosen_evenly_over_the_classes(labels, count):
    records = [SimpleNamespace(label=label, name=str(number)) for number, label in enumerate(labels)]
    chosen = choose(records, count)
    names = [record.name for record in chosen]
    assert len(set(names)) == len(names) == min(count, len(records))
    share = len(chosen) / len(records)
    of_all, of_chosen = Counter(labels), Counter(record.label for record in chosen)
    assert all(abs(of_chosen[label] - share * n) <= 2 for label, n in of_all.items())


def test_engines_score_the_same_clips(trained_run):
    run = RunFolder.open(trained_run)
    calls = []
    engine = KerasEngine(run)
    records = run.records("test")[:3]
    first, second = score([engine, engine], run, records, clips=3, progress=lambda *c: calls.append(c))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (9, 3) and calls[-1] == (9, 9)

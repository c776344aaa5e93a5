"""What a clip is made of."""

from __future__ import annotations

import pytest

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.config.schema import load_config, parse_config
from kresp3d.system.errors import UsageError


def test_holds_the_configuration_s_values_and_what_follows_from_them():
    config = parse_config(
        {
            "data": {"fps": 12.5, "short_side": 96},
            "clip": {"frame_stride": 3},
            "model": {"frames": 8, "step": 2, "size": 64},
        },
        "the test",
    )
    form = ClipFormat.of(config)
    assert form.model_dump() == {
        "frames": 8,
        "step": 2,
        "size": 64,
        "frame_stride": 3,
        "fps": 12.5,
        "short_side": 96,
    }
    assert (form.length, form.shape) == (10, (10, 64, 64, 3))
    assert form.span == len(range(0, 3 * 9 + 1))


def test_a_network_s_own_numbers_are_enough_and_the_rest_is_the_paper_s():
    form = ClipFormat(frames=16, size=64)
    assert form.shape == (17, 64, 64, 3)
    assert (form.step, form.frame_stride, form.fps) == (1, 1, 15.0)
    # In the paper, frames of 256 pixels become clips of 112.
    assert form.short_side == 146 == round(64 / 112 * 256)
    assert ClipFormat(frames=32, size=112) == ClipFormat.of(load_config("ucf101"))
    assert ClipFormat(frames=32, size=112, short_side=120).short_side == 120


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"frames": 0}, "frames"),
        ({"size": None}, "size"),
        ({"size": "wide"}, "size"),
        ({"fps": float("inf")}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"short_side": None}, "short_side"),
        ({"strides": 2}, "strides"),
    ],
    ids=str,
)
def test_refuses_what_makes_no_clip_in_one_sentence(values, word):
    with pytest.raises(UsageError, match=rf"^ClipFormat: {word}: [^\n]+, received [^\n]+$"):
        ClipFormat(**{"frames": 4, "size": 16, **values})
    with pytest.raises(UsageError, match=r"ClipFormat: size: .*required$"):
        ClipFormat(frames=4)

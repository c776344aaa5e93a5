"""What a clip is made of."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from kresp3d.config import parse_config
from kresp3d.data.clip_format import ClipFormat


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


def test_refuses_a_clip_without_frames():
    with pytest.raises(ValidationError, match="frames"):
        ClipFormat(frames=0, step=1, size=64, frame_stride=1, fps=15, short_side=96)

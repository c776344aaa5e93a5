"""What all engines have in common: they refuse frames that are not right."""

from __future__ import annotations

import re

import numpy as np
import pytest

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.inference.engine import Engine
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.system.errors import KrespError

CLIP = ClipFormat(frames=4, step=1, size=16, frame_stride=1, fps=15, short_side=32)


class Even(Engine):
    """Scores all classes alike."""

    def _score(self, frames):
        return np.full((len(frames), len(self.info.labels)), 1 / len(self.info.labels), np.float32)


@pytest.fixture
def engine():
    return Even(NetworkInfo(name="even", format="onnx", labels=("a", "b"), clip=CLIP, clips=2, source=""))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((2, 4, 16, 16, 3), "uint8"),
        ((2, 5, 16, 15, 3), "uint8"),
        ((5, 16, 16, 3), "uint8"),
        ((0, 5, 16, 16, 3), "uint8"),
        ((2, 5, 16, 16, 3), "float32"),
        ((2, 5, 16, 16, 1), "uint8"),
    ],
)
def test_frames_of_a_wrong_count_shape_or_dtype_are_refused_in_a_sentence(engine, shape, dtype):
    words = f"even (onnx): expected clips uint8 [B, 5, 16, 16, 3], B at least 1, received {dtype} {list(shape)}"
    with pytest.raises(KrespError, match=f"^{re.escape(words)}$"):
        engine.probabilities(np.zeros(shape, dtype))


def test_right_frames_are_scored(engine):
    assert engine.probabilities(np.zeros((3, 5, 16, 16, 3), np.uint8)).shape == (3, 2)

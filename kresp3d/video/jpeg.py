"""JPEG, without TensorFlow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def encode_jpeg(frame: np.ndarray, quality: int) -> bytes:
    """A uint8 [H, W, 3] RGB frame as JPEG, colour at half resolution (4:2:0)."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()

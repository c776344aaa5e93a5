import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kresp3d.video.jpeg import encode_jpeg


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255))
def test_a_plain_picture_comes_back(height, width, grey):
    frame = np.full((height, width, 3), grey, np.uint8)
    picture = np.asarray(Image.open(io.BytesIO(encode_jpeg(frame, 90))))
    assert picture.shape == frame.shape
    assert np.abs(picture.astype(int) - grey).max() <= 2


def test_channels_are_red_green_blue():
    frame = np.zeros((16, 16, 3), np.uint8)
    frame[..., 0] = 255
    red, green, blue = np.asarray(Image.open(io.BytesIO(encode_jpeg(frame, 95)))).mean(axis=(0, 1))
    assert red > 240 > 20 > max(green, blue)


def test_quality_trades_bytes():
    frame = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert len(encode_jpeg(frame, 30)) < len(encode_jpeg(frame, 90))

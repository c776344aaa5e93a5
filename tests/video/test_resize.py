import numpy as np
import pytest
from PIL import Image

from kresp3d.video.resize import resize_array, resize_square


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def area_means(square: np.ndarray, size: int) -> np.ndarray:
    """Each pixel the mean of the area under it, by the definition."""
    edges = np.arange(size + 1) * len(square) / size
    share = np.minimum(edges[1:, None], np.arange(len(square)) + 1) - np.maximum(
        edges[:-1, None], np.arange(len(square))
    )
    weights = np.maximum(share, 0) * size / len(square)
    return np.einsum("ij,jkc,lk->ilc", weights, square.astype(float), weights)


@pytest.mark.parametrize(("side", "size"), [(24, 16), (30, 7), (17, 16)])
def test_shrinking_takes_the_mean_of_the_area(side, size):
    square = noise(side, side, 3)
    small = resize_square(square, size).numpy()
    assert small.dtype == np.uint8
    assert np.abs(small - area_means(square, size)).max() <= 0.51


def test_enlarging_is_bilinear_and_the_same_size_changes_nothing():
    square = noise(16, 16, 3)
    expected = np.asarray(Image.fromarray(square).resize((24, 24), Image.Resampling.BILINEAR), int)
    assert np.abs(resize_square(square, 24).numpy().astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(resize_square(square, 16), square)


@pytest.mark.parametrize("size", [8, 16, 20])
def test_many_squares_are_resized_as_each_would_be(size):
    squares = noise(5, 16, 16, 3)
    expected = np.stack([resize_square(square, size) for square in squares])
    np.testing.assert_array_equal(resize_square(squares, size), expected)


@pytest.mark.parametrize("size", [5, 16, 24, 31])
def test_arrays_are_resized_as_tensors_are(size):
    square = noise(24, 24, 3)
    found, expected = resize_array(square, size), np.asarray(resize_square(square, size))
    assert found.dtype == np.uint8
    # A mean that lies half-way between two bytes may be rounded either way.
    differs = found != expected
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert differs.mean() < 0.01


@pytest.mark.parametrize("size", [1, 7, 24, 50])
def test_a_plain_square_stays_plain(size):
    for level in (0, 1, 128, 255):
        assert set(np.unique(resize_array(np.full((24, 24, 3), level, np.uint8), size))) == {level}

import numpy as np
import pytest
from PIL import Image

from kresp3d.data.resize import compiled_resize, resize_square


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


def test_squares_of_another_side_do_not_retrace():
    for side in (24, 40, 50):
        compiled_resize(19)(noise(side, side, 3))
    assert compiled_resize(19).experimental_get_tracing_count() == 1

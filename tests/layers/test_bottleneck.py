import numpy as np
import pytest

from kresp3d.layers import Bottleneck

SHAPE = (2, 4, 6, 6, 8)


def test_adds_an_identity_shortcut_where_the_shape_stays():
    x, layer = np.random.default_rng(0).normal(size=SHAPE).astype("float32"), Bottleneck(8)
    out = layer(x)
    inner = layer.project(layer.middle(layer.reduce(x)))
    assert layer.shortcut is None
    np.testing.assert_allclose(out, np.maximum(inner + x, 0), rtol=1e-5, atol=1e-5)


def test_adds_a_projected_shortcut_where_the_shape_changes():
    x, layer = np.random.default_rng(0).normal(size=SHAPE).astype("float32"), Bottleneck(4, spatial_stride=2)
    out = layer(x)
    inner = layer.project(layer.middle(layer.reduce(x)))
    np.testing.assert_allclose(out, np.maximum(inner + layer.shortcut(x), 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "shape", "weights"),
    [
        ({}, (2, 4, 6, 6, 8), 22),
        ({"spatial_stride": 2}, (2, 4, 3, 3, 8), 27),
        ({"expansion": 4}, (2, 4, 6, 6, 32), 27),
        ({"variant": "full3d"}, (2, 4, 6, 6, 8), 15),
        ({"variant": "full3d", "spatial_stride": 2}, (2, 4, 3, 3, 8), 20),
    ],
)
def test_common_checks(check_layer, tmp_path, options, shape, weights):
    check_layer(lambda **kw: Bottleneck(8, **options, **kw), SHAPE, shape, weights, tmp_path)


def test_full3d_reads_frames_and_pixels_together():
    layer = Bottleneck(8, variant="full3d")
    layer.build(SHAPE)
    assert layer.middle.conv.kernel.shape == (3, 3, 3, 8, 8)


def test_refuses_another_variant():
    with pytest.raises(ValueError, match="variant must be 'p3d' or 'full3d', received 'p2d'"):
        Bottleneck(8, variant="p2d")

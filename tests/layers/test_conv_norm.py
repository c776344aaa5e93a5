import numpy as np
import pytest

from kresp3d.layers import ConvNorm, FactorizedConv


@pytest.mark.parametrize("relu", [True, False])
def test_is_convolution_then_norm_then_relu(relu):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 5)).astype("float32")
    layer = ConvNorm(FactorizedConv(6, (1, 3)), relu=relu)
    out = np.asarray(layer(x, training=True))
    plain = np.asarray(layer.conv(x))
    normal = (plain - plain.mean((0, 1, 2, 3))) / np.sqrt(plain.var((0, 1, 2, 3)) + 1e-5)
    np.testing.assert_allclose(out, np.maximum(normal, 0) if relu else normal, atol=1e-4)


def test_common_checks(check_layer, tmp_path):
    check_layer(
        lambda **kw: ConvNorm(FactorizedConv(6, (3, 1), 2, **kw), **kw), (2, 3, 4, 4, 5), (2, 3, 2, 2, 6), 5, tmp_path
    )


def test_refuses_another_norm():
    with pytest.raises(ValueError, match="norm must be 'batch', 'sync_batch' or 'folded', received 'layer'"):
        ConvNorm(FactorizedConv(6, (3, 1)), norm="layer")

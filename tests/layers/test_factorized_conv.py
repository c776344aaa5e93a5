import keras
import numpy as np
import pytest

from kresp3d.layers import FactorizedConv


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [(1, 1), (1, 3), (1, 7), (3, 1), (5, 1)])
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_equals_conv3d_with_the_same_kernel(kernel_size, stride, size):
    x = np.random.default_rng(0).normal(size=(2, 6, *size, 3)).astype("float32")
    layer = FactorizedConv(4, kernel_size, stride)
    folded = layer(x)
    time, space = kernel_size
    conv3d = keras.layers.Conv3D(4, (time, space, space), (1, stride, stride), padding="same", use_bias=False)
    conv3d.build(x.shape)
    conv3d.kernel.assign(np.reshape(layer.kernel, conv3d.kernel.shape))
    np.testing.assert_allclose(folded, conv3d(x), rtol=1e-5, atol=1e-5)
    assert layer.compute_output_shape(x.shape) == folded.shape


@pytest.mark.parametrize(("kernel_size", "stride"), [((1, 3), 2), ((3, 1), 2)])
def test_common_checks(check_layer, tmp_path, kernel_size, stride):
    check_layer(
        lambda **kw: FactorizedConv(4, kernel_size, stride, kernel_initializer="ones", **kw),
        (2, 6, 8, 7, 3),
        (2, 6, 4, 4, 4),
        1,
        tmp_path,
    )


def test_refuses_a_kernel_over_both_time_and_space():
    with pytest.raises(ValueError, match=r"must be \(1, k\) or \(k, 1\).*received \(3, 3\)"):
        FactorizedConv(4, (3, 3))


def test_refuses_no_filters():
    with pytest.raises(ValueError, match="received filters=0"):
        FactorizedConv(0, (1, 3))

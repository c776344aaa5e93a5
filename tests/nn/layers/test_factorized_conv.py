import numpy as np
import pytest

from kresp3d.nn.layers import FactorizedConv


def kernel_3d(layer):
    kernel = np.asarray(layer.kernel, np.float64)
    return kernel[:, None] if layer.is_temporal else kernel[None]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [(1, 1), (1, 3), (1, 7), (3, 1), (5, 1)])
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_equals_a_3d_convolution_with_the_same_kernel(reference, kernel_size, stride, size):
    x = np.random.default_rng(0).normal(size=(2, 6, *size, 3)).astype("float32")
    layer = FactorizedConv(4, kernel_size, stride)
    found = layer(x)
    np.testing.assert_allclose(found, reference.convolve(x, kernel_3d(layer), stride), rtol=1e-5, atol=1e-5)
    assert layer.compute_output_shape(x.shape) == found.shape


@pytest.mark.parametrize("kernel_size", [(1, 3), (3, 1)])
def test_a_bias_and_an_activation_follow_the_convolution(reference, kernel_size):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 4, 5, 5, 3)).astype("float32")
    layer = FactorizedConv(4, kernel_size, use_bias=True, activation="relu")
    layer.build(x.shape)
    layer.bias.assign(random.normal(size=4))
    expected = np.maximum(reference.convolve(x, kernel_3d(layer)) + np.asarray(layer.bias), 0)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [(1, 3), (3, 1)])
@pytest.mark.parametrize(("options", "weights"), [({}, 1), ({"use_bias": True, "activation": "relu"}, 2)])
def test_common_checks(check_layer, tmp_path, kernel_size, options, weights):
    arguments = {"filters": 4, "kernel_size": kernel_size, "spatial_stride": 2, **options}
    check_layer(FactorizedConv, arguments, (2, 6, 8, 7, 3), (2, 6, 4, 4, 4), weights, 0, tmp_path)


def test_refuses_a_kernel_over_both_time_and_space():
    with pytest.raises(ValueError, match=r"\(1, k\) or \(k, 1\), received \(3, 3\)"):
        FactorizedConv(4, (3, 3))


@pytest.mark.parametrize(
    "options",
    [{"filters": 0}, {"filters": 2.0}, {"spatial_stride": 0}, {"spatial_stride": 1.5}, {"spatial_stride": "2"}],
)
def test_refuses_what_is_no_number_of_filters_or_pixels(options):
    (name, value), *_ = options.items()
    with pytest.raises(ValueError, match=f"{name} .* at least 1, received {value!r}"):
        FactorizedConv(**{"filters": 3, "kernel_size": (1, 3), **options})


@pytest.mark.parametrize("kernel_size", [3, (3,), (1, 3, 3), "13", (0, 1), (1, 2.0), None, ()])
def test_refuses_a_kernel_size_that_is_not_time_and_space(kernel_size):
    with pytest.raises(ValueError, match="kernel_size must be"):
        FactorizedConv(3, kernel_size)


def test_takes_numbers_of_numpy():
    layer = FactorizedConv(np.int64(3), np.array([1, 3]), np.int32(2))
    assert layer.get_config() == {**FactorizedConv(3, (1, 3), 2).get_config(), "name": layer.name}


@pytest.mark.parametrize("kernel_size", [(1, 3), (3, 1)])
def test_counts_with_integers_as_with_floats(kernel_size):
    frames = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 6, 3), "uint8")
    layer = FactorizedConv(2, kernel_size)
    np.testing.assert_array_equal(layer(frames), layer(frames.astype("float32")))


def test_refuses_unknown_and_other_channels():
    layer = FactorizedConv(4, (1, 3))
    with pytest.raises(ValueError, match="expected a known number of channels"):
        layer.build((None, 4, 8, 8, None))
    layer.build((None, 4, 8, 8, 3))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 3"):
        layer(np.zeros((1, 4, 8, 8, 2), "float32"))

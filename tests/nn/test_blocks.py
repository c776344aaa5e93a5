from functools import partial

import keras
import numpy as np
import pytest

from kresp3d.nn.blocks import bottleneck, conv_norm, full_3d, full_3d_stem, full_conv, pseudo_3d, stem

SIZES = [(6, 8, 8), (5, 7, 9), (1, 5, 4)]


def model_of(keras_weights, block, shape, channels=3, **options):
    """A model of one block, whose weights and statistics are not the initial ones, and a clip."""
    keras.utils.set_random_seed(1)
    x = keras.Input((*shape, channels))
    model = keras_weights.randomise(keras.Model(x, block(x, name="block", **options)))
    return model, np.random.default_rng(0).normal(size=(2, *shape, channels)).astype("float32")


def check(model, clip, expected):
    assert model.output.shape == (None, *expected.shape[1:])
    np.testing.assert_allclose(model(clip, training=False), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("kernel_size", "options"), [((1, 3), {}), ((3, 1), {}), ((3, 3), {"convolution": full_conv})])
def test_conv_norm(reference, keras_weights, shape, stride, relu, kernel_size, options):
    options = {"filters": 4, "kernel_size": kernel_size, "spatial_stride": stride, "relu": relu, **options}
    model, clip = model_of(keras_weights, conv_norm, shape, **options)
    check(model, clip, reference.conv_norm(clip, keras_weights.conv_norm(reference, model, "block"), stride, relu))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize(("block", "convs"), [(stem, ("appearance", "motion")), (full_3d_stem, ("conv",))])
def test_stem(reference, keras_weights, shape, block, convs):
    model, clip = model_of(keras_weights, block, shape, filters=4)
    weights = reference.Stem(tuple(keras_weights.conv_norm(reference, model, f"block_{conv}") for conv in convs))
    check(model, clip, reference.stem(clip, weights))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("feature_residual", [True, False])
@pytest.mark.parametrize("attention", ["space_time", "space", None])
def test_pseudo_3d(reference, keras_weights, shape, stride, feature_residual, attention):
    options = {"filters": 4, "spatial_stride": stride, "feature_residual": feature_residual, "attention": attention}
    model, clip = model_of(keras_weights, pseudo_3d, shape, **options)
    module = keras_weights.middle(reference, model, "block")
    check(model, clip, reference.pseudo_3d(clip, module, stride, feature_residual, attention or "space_time"))


@pytest.mark.parametrize("shape", SIZES[:2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("channels", "expansion"), [(4, 1), (3, 1), (8, 2)])
@pytest.mark.parametrize("middle", [pseudo_3d, partial(pseudo_3d, feature_residual=False, attention="space"), full_3d])
def test_bottleneck(reference, keras_weights, shape, stride, channels, expansion, middle):
    options = {"filters": 4, "spatial_stride": stride, "expansion": expansion, "middle": middle}
    model, clip = model_of(keras_weights, bottleneck, shape, channels, **options)
    weights = keras_weights.bottleneck(reference, model, "block", stride)
    assert (weights.shortcut is None) == (stride == 1 and channels == 4 * expansion)
    settings = middle.keywords if isinstance(middle, partial) else {}
    expected = reference.bottleneck(
        clip, weights, settings.get("feature_residual", True), settings.get("attention", "space_time")
    )
    check(model, clip, expected)

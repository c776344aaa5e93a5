"""The checks that every layer goes through."""

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase


def values_of(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def train(layer, seed=2):
    """Give every weight a value that no initialiser gives, positive where a variance is."""
    random = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(random.uniform(0.3, 1.7, weight.shape).astype("float32"))


@pytest.fixture
def check_layer():
    """Run Keras' own test of a layer, and check shapes, weights, restoring, mixed precision, unknown axes and refusals.

    To be called with the class, its arguments, the shape of a clip, that of the output, and how many weights are
    trained and how many are not.
    """

    def check(layer_class, arguments, input_shape, output_shape, trainable, others, tmp_path):
        TestCase("run_layer_test").run_layer_test(
            layer_class,
            arguments,
            input_shape=input_shape,
            expected_output_shape=output_shape,
            expected_num_trainable_weights=trainable,
            expected_num_non_trainable_weights=others,
            expected_num_losses=0,
            supports_masking=layer_class.__name__ == "BatchNorm",
        )
        clip = values_of(input_shape)
        layer = layer_class(**arguments)
        assert tuple(layer.compute_output_shape(input_shape)) == output_shape
        layer.build(input_shape)
        train(layer)
        expected = np.asarray(layer(clip))
        assert expected.shape == output_shape
        _check_restored(layer, clip, expected, tmp_path)
        _check_mixed_precision(layer, arguments, clip, expected)
        _check_unknown_axes(layer, input_shape, clip, expected)
        _check_refusals(layer_class, arguments, input_shape)

    return check


def _check_restored(layer, clip, expected, tmp_path):
    tensor = keras.Input(clip.shape[1:])
    model = keras.Model(tensor, layer(tensor))
    assert model.output.shape == (None, *expected.shape[1:])
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored(clip), expected)
    np.testing.assert_array_equal(restored(clip[:1]), np.asarray(layer(clip[:1])))


def _check_mixed_precision(layer, arguments, clip, expected):
    half = type(layer)(**arguments, dtype="mixed_bfloat16")
    half.build(clip.shape)
    half.set_weights(layer.get_weights())
    outputs = half(clip)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert all(weight.dtype == "float32" for weight in half.weights)
    # bfloat16 has 8 bits; sums over a window are of a few such values.
    error = np.abs(np.asarray(keras.ops.cast(outputs, "float32")) - expected).max()
    assert error <= 0.05 * np.abs(expected).max()


def _check_unknown_axes(layer, input_shape, clip, expected):
    tensor = keras.Input((None, None, None, input_shape[-1]))
    model = keras.Model(tensor, layer(tensor))
    assert model.output.shape == (None, None, None, None, expected.shape[-1])
    np.testing.assert_allclose(model(clip), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict(clip, verbose=0), expected, rtol=1e-4, atol=1e-4)


def _check_refusals(layer_class, arguments, input_shape):
    if layer_class.__name__ == "BatchNorm":
        # It takes any number of axes, as Keras' own.
        return
    with pytest.raises(ValueError, match=r"expected an input \[batch, frames, .*received 4 axes"):
        layer_class(**arguments)(values_of(input_shape[1:]))
    with pytest.raises(ValueError, match=r"expected an input \[batch, frames, .*received 4 axes"):
        layer_class(**arguments)(keras.Input(input_shape[2:]))
    with pytest.raises(ValueError, match="received 3 axes"):
        layer_class(**arguments).compute_output_shape(input_shape[2:])

"""The checks that every layer goes through."""

import keras
import numpy as np
import pytest


@pytest.fixture
def check_layer():
    """Build, shapes, number of weights, mixed precision, and a model saved and restored with equal outputs."""

    def check(make, input_shape, output_shape, weights, tmp_path):
        inputs = np.random.default_rng(0).normal(size=input_shape).astype("float32")
        layer = make()
        assert tuple(layer.compute_output_shape(input_shape) if layer.built else output_shape) == output_shape
        assert layer(inputs).shape == output_shape
        assert len(layer.weights) == weights
        assert tuple(layer.compute_output_shape(input_shape)) == output_shape

        tensor = keras.Input(input_shape[1:])
        model = keras.Model(tensor, make()(tensor))
        assert model.output.shape == (None, *output_shape[1:])
        model.save(tmp_path / "model.keras")
        restored = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(model(inputs), restored(inputs))
        assert restored(inputs[:1]).shape == (1, *output_shape[1:])

        half = make(dtype="mixed_bfloat16")
        assert keras.backend.standardize_dtype(half(inputs).dtype) == "bfloat16"
        assert all(weight.dtype == "float32" for weight in half.weights)

    return check

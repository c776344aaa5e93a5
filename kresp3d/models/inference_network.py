"""The form of the network that computes scores: for prediction, evaluation and every exported format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from kresp3d.layers import ConvNorm


def inference_network(
    network: keras.Model,
    *,
    precision: Literal["float32", "bfloat16"] = "float32",
    input_dtype: Literal["uint8", "float32"] = "uint8",
) -> keras.Model:
    """Turn a trained network into its inference form.

    Batch norms are folded into the convolutions before them, dropout is gone, and a softmax stands at the end. In
    float32 the scores are those of `network` with `training=False` in float32, up to rounding.

    Args:
        network: What `build_model` or a run's `model.keras` gives, of any precision.
        precision: Of the computation. Weights and the last layer are float32 in any case.
        input_dtype: Of the frames; `float32`, in the same units, for converters that want no integers.

    Returns:
        A functional model from `{"frames": input_dtype [batch, frames + step, size, size, 3]}` to probabilities,
        float32 `[batch, classes]`. It shares no weights with `network`.
    """

    def convert(operation: keras.Operation) -> keras.Operation:
        if isinstance(operation, keras.layers.Dropout):
            return keras.layers.Identity(name=operation.name)
        values = operation.get_config()
        if isinstance(operation, keras.layers.Layer):
            is_mixed = precision == "bfloat16" and operation is not network.layers[-1]
            values["dtype"] = "mixed_bfloat16" if is_mixed else "float32"
        if "norm" in values:
            values["norm"] = "folded"
        return operation.__class__.from_config(values)

    shape = network.input["frames"].shape[1:]
    frames = keras.Input(shape, dtype=input_dtype, name="frames")
    folded = keras.models.clone_model(network, {"frames": frames}, clone_function=convert)
    for source, target in zip(_leaves(network), _leaves(folded), strict=True):
        target.set_weights(_folded(source) if isinstance(source, ConvNorm) else source.get_weights())
    return keras.Model({"frames": frames}, ops.softmax(folded.output), name=network.name)


def _leaves(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """The layers inside with weights: each `ConvNorm` as a whole, of the rest those without layers inside."""
    inner = list(layer._flatten_layers(include_self=False, recursive=False))
    if isinstance(layer, ConvNorm) or not inner:
        # A dropout's random state is no weight of the network.
        if layer.weights:
            yield layer
        return
    for part in inner:
        yield from _leaves(part)


def _folded(layer: ConvNorm) -> list[Any]:
    """Kernel and bias of a convolution that gives what `layer` gives before its ReLU.

    `gamma * (w * x - mean) / sqrt(variance + epsilon) + beta` is a convolution with `w * scale` and the bias
    `beta - mean * scale`, where `scale = gamma / sqrt(variance + epsilon)`.
    """
    norm = layer.norm
    if norm is None:
        return list(layer.get_weights())
    gamma, beta, mean, variance = (np.asarray(v, np.float64) for v in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    (kernel,) = layer.conv.get_weights()
    return [(kernel * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)]

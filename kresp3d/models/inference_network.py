"""The forms of a trained network whose batch norms are part of its convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from kresp3d.layers import ConvNorm, RoundedRescaling, Rounding, Stem

#: Layers after which an int8 network rounds, besides those that round within.
_ROUNDED = (keras.layers.Concatenate, keras.layers.Dense, keras.layers.GlobalAveragePooling3D, Stem)


def inference_network(
    network: keras.Model,
    *,
    precision: Literal["float32", "bfloat16"] = "float32",
    input_dtype: Literal["uint8", "float32"] = "uint8",
) -> keras.Model:
    """Turn a trained network into its inference form: for prediction, evaluation and every exported format.

    Batch norms are folded into the convolutions before them, dropout is gone, and a softmax stands at the end. In
    float32 the scores are those of `network` with `training=False` in float32, up to rounding.

    Args:
        network: What `build_model` or a run's `model.keras` gives, of any precision.
        precision: Of the computation. Weights and the last layer are float32 in any case, and so is all of a network
            that rounds as an int8 network does.
        input_dtype: Of the frames; `float32`, in the same units, for converters that want no integers.

    Returns:
        A functional model from `{"frames": input_dtype [batch, frames + step, size, size, 3]}` to probabilities,
        float32 `[batch, classes]`. It shares no weights with `network`.
    """
    is_mixed = precision == "bfloat16" and not rounds_as_int8(network)

    def convert(operation: keras.Operation) -> keras.Operation:
        if isinstance(operation, keras.layers.Dropout):
            return keras.layers.Identity(name=operation.name)
        values = operation.get_config()
        if isinstance(operation, keras.layers.Layer):
            values["dtype"] = "mixed_bfloat16" if is_mixed and operation is not network.layers[-1] else "float32"
        return _with_folded_norms(operation, values)

    folded = _folded_clone(network, convert, input_dtype=input_dtype)
    return keras.Model(folded.input, ops.softmax(folded.output), name=network.name)


def folded_network(network: keras.Model) -> keras.Model:
    """Turn a trained network into one to train on, whose batch norms are folded into the convolutions before them.

    Args:
        network: As for `inference_network`.

    Returns:
        A functional model with the inputs, outputs, dropout and precision of `network`, which computes what that one
        does with `training=False`.
    """
    return _folded_clone(network, lambda operation: _with_folded_norms(operation, operation.get_config()))


def int8_network(network: keras.Model) -> keras.Model:
    """Turn a trained network into one to train on, in float32, that rounds its activations as an int8 network does.

    Args:
        network: As for `inference_network`, but no full 3D one, of which there is no int8 network.

    Returns:
        A functional model as that of `folded_network`. The ranges of its roundings are to be found; see
        `kresp3d.layers.rounding.observing_ranges`.
    """

    def convert(operation: keras.Operation) -> keras.Operation:
        values = operation.get_config()
        if isinstance(operation, keras.layers.Layer):
            values["dtype"] = "float32"
        if isinstance(operation, keras.layers.Rescaling):
            return RoundedRescaling(values["scale"], values["offset"], name=values["name"], dtype="float32")
        if "rounds" in values:
            values["rounds"] = True
        return _with_folded_norms(operation, values)

    # Of two streams, only both together are rounded.
    stems = {layer.name for layer in network.layers if isinstance(layer, Stem)}
    names = {layer.name for layer in network.layers if isinstance(layer, _ROUNDED)}
    names -= stems if len(stems) > 1 else set()

    def call(operation: keras.Operation, *arguments: Any, **options: Any) -> Any:
        outputs = operation(*arguments, **options)
        if operation.name not in names:
            return outputs
        return Rounding(dtype="float32", name=f"{operation.name}_rounding")(outputs)

    return _folded_clone(network, convert, call)


def rounds_as_int8(network: keras.Model) -> bool:
    """Whether a network came from `int8_network`."""
    return any(isinstance(layer, Rounding) for layer in network.layers)


def _with_folded_norms(operation: keras.Operation, values: dict[str, Any]) -> keras.Operation:
    return operation.__class__.from_config({**values, "norm": "folded"} if "norm" in values else values)


def _folded_clone(
    network: keras.Model,
    convert: Callable[[keras.Operation], keras.Operation],
    call: Callable[..., Any] | None = None,
    *,
    input_dtype: str = "uint8",
) -> keras.Model:
    shape = network.input["frames"].shape[1:]
    frames = keras.Input(shape, dtype=input_dtype, name="frames")
    folded = keras.models.clone_model(network, {"frames": frames}, clone_function=convert, call_function=call)
    # Where only the new one rounds, its ranges have nothing to be copied from.
    is_new = rounds_as_int8(folded) and not rounds_as_int8(network)
    targets = (leaf for leaf in _leaves(folded) if not (is_new and isinstance(leaf, Rounding)))
    for source, target in zip(_leaves(network), targets, strict=True):
        target.set_weights(_folded(source) if isinstance(source, ConvNorm) else source.get_weights())
    return keras.Model({"frames": frames}, folded.output, name=network.name)


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

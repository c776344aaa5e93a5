"""The form of a trained network that predicts."""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras
from keras import layers, ops

from kresp3d.nn.layers import FeatureResidual, ResidualFrames
from kresp3d.nn.transforms.fold import fold
from kresp3d.nn.transforms.graph import Copies, copy_of, producer
from kresp3d.nn.transforms.unsigned import unsigned_difference

Precision = Literal["float32", "bfloat16"]
InputType = Literal["uint8", "float32"]


def inference_form(
    network: keras.Model,
    *,
    precision: Precision = "float32",
    input_dtype: InputType = "uint8",
    unsigned: bool = False,
) -> keras.Model:
    """Turn a trained network into its inference form: for prediction, evaluation and every exported format.

    Batch norms are folded into the convolutions before them, dropout is gone, and a softmax stands at the end. In
    float32 the scores are those of `network` with `training=False` in float32, up to rounding.

    Args:
        network: A trained network, of any precision, that gives logits.
        precision: Of the computation. Weights and the last layer are float32 in any case.
        input_dtype: Of the frames; `float32`, in the same units, for converters that want no integers.
        unsigned: Whether differences are computed from parts without a sign, as an int8 network wants them; see
            `unsigned_difference`.

    Returns:
        A functional model from `{"frames": input_dtype [batch, frames + step, size, size, 3]}` to probabilities,
        float32 `[batch, classes]`. It shares no weights with `network`.

    Raises:
        ValueError: If there is no such `precision` or `input_dtype`, or the network ends in a softmax already.

    Examples:
    ```python
    import numpy as np
    from kresp3d.nn import P3DResNet
    from kresp3d.nn.transforms import inference_form

    trained = P3DResNet.from_preset("small", classes=10)
    scores = inference_form(trained)({"frames": np.zeros((1, 17, 64, 64, 3), "uint8")})  # [1, 10], sums to 1
    ```
    """
    _check("precision", precision, get_args(Precision))
    _check("input_dtype", input_dtype, get_args(InputType))
    logits = producer(network.output)
    if _is_softmax(logits):
        raise ValueError(
            f"inference_form: expected a network that gives logits, received {network.name}, which ends in a softmax "
            f"({logits.name}); give it the network that was trained"
        )
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    copies, in_float32 = Copies(policy), Copies("float32")

    def visit(operation: keras.Operation, *arguments: Any, **options: Any) -> Any:
        if isinstance(operation, layers.Dropout):
            return arguments[0]
        if unsigned and isinstance(operation, ResidualFrames | FeatureResidual):
            return unsigned_difference(copy_of(operation, dtype=policy), arguments[0])
        return (in_float32 if operation is logits else copies)(operation, *arguments, **options)

    frames = keras.Input(network.input["frames"].shape[1:], dtype=input_dtype, name="frames")
    folded = fold(network, visit=visit, inputs={"frames": frames}, dtype=policy)
    return keras.Model(folded.input, ops.softmax(folded.output), name=network.name)


def _check(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"inference_form: {name} must be one of {', '.join(choices)}, received {value!r}")


def _is_softmax(operation: keras.Operation) -> bool:
    # The layer, the operation of that name, or a layer's activation.
    return type(operation).__name__ == "Softmax" or getattr(operation, "activation", None) is keras.activations.softmax

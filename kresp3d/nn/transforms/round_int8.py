"""A network that rounds its activations as its int8 file does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from kresp3d.nn.layers import ChannelAttention, FactorizedConv, FeatureResidual, ResidualFrames
from kresp3d.nn.transforms.fold import fold
from kresp3d.nn.transforms.graph import Copies, copy_of, rewrite, with_weights
from kresp3d.nn.transforms.unsigned import unsigned_difference

#: What makes the layer that rounds a tensor. It takes the layer's `name` and `fixed`: the lowest, at most 0, and the
#: highest value of the tensor where these are known, else `None`. The layer takes `learns=False` where another tensor
#: of the same range tells that range.
MakeRounding = Callable[..., layers.Layer]

#: Of the mask in an int8 network, whose sigmoid gives multiples of 1/256.
MASK_RANGE = (0.0, 255 / 256)


def round_int8(network: keras.Model, make_rounding: MakeRounding) -> keras.Model:
    """Turn a trained network into one to train on, in float32, that rounds wherever its int8 file does.

    That is after every layer with weights and after every sum, mean and product. What is concatenated has one range
    with the result, as LiteRT has it, and is rounded with that.

    Args:
        network: A trained network, but no full 3D one, of which there is no int8 network.
        make_rounding: See `MakeRounding`.

    Returns:
        A functional model with folded batch norms and weights of its own, the inputs, outputs and dropout of `network`.
    """
    return rewrite(fold(network, visit=Copies("float32"), dtype="float32"), _Rounding(make_rounding))


class _Rounding:
    """Visits the operations of a folded network; see `rewrite`."""

    def __init__(self, make_rounding: MakeRounding) -> None:
        self._make = make_rounding
        self._copies = Copies()
        self._roundings: dict[str, layers.Layer] = {}

    def __call__(self, operation: keras.Operation, *arguments: Any, **options: Any) -> Any:
        if isinstance(operation, layers.Rescaling):
            return self._rescaled(operation, *arguments)
        if isinstance(operation, ResidualFrames | FeatureResidual):
            return unsigned_difference(copy_of(operation), arguments[0], self._round)
        if isinstance(operation, ChannelAttention):
            return self._attended(operation, *arguments)
        outputs = self._copies(operation, *arguments, **options)
        if not isinstance(operation, _ROUNDED):
            return outputs
        followers = [node.operation for node in operation._outbound_nodes]
        joined = next((f for f in followers if isinstance(f, layers.Concatenate)), None)
        if joined is None:
            return self._round(operation.name, outputs)
        # Both see the same values of a motion feature, its feature residual and what it is concatenated into.
        is_seen = any(isinstance(f, FeatureResidual) for f in followers)
        return self._round(joined.name, outputs, learns=False) if is_seen else outputs

    def _round(self, name: str, x: Any, fixed: tuple[float, float] | None = None, **options: Any) -> Any:
        """Round a tensor; several of one name have one range."""
        if name not in self._roundings:
            self._roundings[name] = self._make(name=f"{name}_rounding", fixed=fixed)
        return self._roundings[name](x, **options)

    def _rescaled(self, operation: layers.Rescaling, x: Any) -> Any:
        """`x * scale + offset`, rounded after each of the two."""
        name, scale, offset = operation.name, operation.scale, operation.offset
        product = layers.Rescaling(scale, dtype="float32", name=f"{name}_product" if offset else name)(x)
        if not offset:
            return self._round(name, product)
        # These are frames of whole numbers, so their ranges are known. With 257 steps no value of a frame lies half-way
        # between two values of the sum, where LiteRT and TensorFlow might round to different sides.
        product = self._round(f"{name}_product", product, fixed=(0.0, 255 * scale))
        shifted = layers.Rescaling(1.0, offset, dtype="float32", name=name)(product)
        return self._round(name, shifted, fixed=(offset, offset + 257 * scale))

    def _attended(self, operation: ChannelAttention, f: Any) -> Any:
        """`f * (M + 1)`, rounded after each operation; see `ChannelAttention`."""
        name, channels = operation.name, f.shape[-1]
        pooled = self._round(f"{name}_picture_mean", ops.mean(f, axis=(2, 3), keepdims=True))
        if operation.pool == "space_time":
            pooled = self._round(f"{name}_mean", ops.mean(pooled, axis=1, keepdims=True))
        gate = layers.Dense(channels, dtype="float32", name=name)
        logits = with_weights(gate, operation, ops.reshape(pooled, (-1, channels)))
        mask = ops.sigmoid(self._round(f"{name}_logits", logits))
        mask = ops.reshape(self._round(f"{name}_mask", mask, fixed=MASK_RANGE), (-1, *pooled.shape[1:]))
        return self._round(f"{name}_output", f * self._round(f"{name}_factor", mask + 1))


#: After these a network rounds, besides those that `_Rounding` takes apart.
_ROUNDED = (FactorizedConv, layers.Concatenate, layers.Dense, layers.GlobalAveragePooling3D, layers.ReLU)

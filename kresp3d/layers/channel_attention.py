"""Self-attention over channels."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import ops

from kresp3d.layers.rounding import Rounding

#: Of the mask in an int8 network, whose sigmoid gives multiples of 1/256.
MASK_RANGE = (0.0, 255 / 256)


@keras.saving.register_keras_serializable(package="kresp3d")
class ChannelAttention(keras.layers.Layer):
    """Reweight channels by `f * M + f` with the mask `M = sigmoid(W pool(f) + b)` (paper, Sec. 2.2).

    Args:
        pool: `space_time` averages over time and picture, so one mask serves all frames; `space` averages over the
            picture alone, so every frame has its own.
        rounds: Whether it computes with the values that an int8 network has; see `Rounding`.

    Input shape: `[batch, frames, height, width, channels]`.
    Output shape: that of the input.
    """

    def __init__(
        self, pool: Literal["space_time", "space"] = "space_time", rounds: bool = False, **kwargs: Any
    ) -> None:
        if pool not in ("space_time", "space"):
            raise ValueError(f"ChannelAttention: pool must be 'space_time' or 'space', received {pool!r}")
        super().__init__(**kwargs)
        self.pool = pool
        places = ("picture_mean", "mean", "logits", "factor", "output")
        self.rounding = Rounding(places, {"mask": MASK_RANGE}, rounds=rounds, dtype=self.dtype_policy, name="rounding")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _, frames, _, _, channels = input_shape
        self.gate = keras.layers.Dense(channels, dtype=self.dtype_policy, name="gate")
        self.gate.build((None, 1 if self.pool == "space_time" else frames, channels))

    def mask(self, inputs: Any) -> Any:
        """The mask `M`, `[batch, frames or 1, 1, 1, channels]` in (0, 1)."""
        pooled = self.rounding(ops.mean(inputs, axis=(2, 3), keepdims=True), place="picture_mean")
        if self.pool == "space_time":
            # Not one mean over three axes: OpenVINO's is so slow that it takes 4 % of the network's time.
            pooled = self.rounding(ops.mean(pooled, axis=1, keepdims=True), place="mean")
        # In two axes, since converters then see one fully connected layer with its bias.
        logits = self.gate(ops.reshape(pooled, (-1, pooled.shape[-1])))
        mask = self.rounding(ops.sigmoid(self.rounding(logits, place="logits")), place="mask")
        return ops.reshape(mask, (-1, *pooled.shape[1:]))

    def call(self, inputs: Any) -> Any:
        # f * M + f, with one pass over f instead of two.
        factor = self.rounding(self.mask(inputs) + 1, place="factor")
        return self.rounding(inputs * factor)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool": self.pool, "rounds": self.rounding.rounds}

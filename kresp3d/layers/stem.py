"""The first convolutions of each stream."""

from __future__ import annotations

from typing import Any, Literal

import keras

from kresp3d.layers.conv_norm import ConvNorm
from kresp3d.layers.factorized_conv import FactorizedConv
from kresp3d.layers.rounding import Rounding


@keras.saving.register_keras_serializable(package="kresp3d")
class Stem(keras.layers.Layer):
    """`1×7²` then `3×1²` convolution, the picture halved by the first (paper, Table 1); `3×7²` for full 3D.

    Args:
        filters: Channels of each convolution.
        variant: `p3d`, or `full3d` for the baseline's single 3×7×7 convolution.
        norm: See `ConvNorm`.
        rounds: Whether it computes with the values that an int8 network has; see `Rounding`.
        first_filters: Channels of the `1×7²` convolution, where they are not as many.

    Input shape: `[batch, frames, height, width, channels]`.
    Output shape: `[batch, frames, ceil(height / 2), ceil(width / 2), filters]`.
    """

    def __init__(
        self,
        filters: int,
        variant: Literal["p3d", "full3d"] = "p3d",
        norm: str = "batch",
        rounds: bool = False,
        first_filters: int | None = None,
        **kwargs: Any,
    ) -> None:
        if variant not in ("p3d", "full3d"):
            raise ValueError(f"Stem: variant must be 'p3d' or 'full3d', received {variant!r}")
        super().__init__(**kwargs)
        self.filters = filters
        self.first_filters = first_filters or filters
        self.variant = variant
        self.norm = norm
        policy, use_bias = self.dtype_policy, norm == "folded"
        if variant == "full3d":
            convs = [
                keras.layers.Conv3D(
                    filters,
                    (3, 7, 7),
                    (1, 2, 2),
                    padding="same",
                    use_bias=use_bias,
                    kernel_initializer="he_normal",
                    dtype=policy,
                    name="conv",
                )
            ]
        else:
            convs = [
                FactorizedConv(self.first_filters, (1, 7), 2, use_bias=use_bias, dtype=policy, name="conv"),
                FactorizedConv(filters, (3, 1), use_bias=use_bias, dtype=policy, name="conv"),
            ]
        self.convs = [ConvNorm(conv, norm, dtype=policy, name=f"conv{i}") for i, conv in enumerate(convs, 1)]
        # What the stem gives is rounded where the streams come together, into one range for both.
        places = [conv.name for conv in self.convs[:-1]]
        self.rounding = Rounding(places, rounds=rounds, dtype=policy, name="rounding")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for conv in self.convs:
            conv.build(input_shape)
            input_shape = conv.compute_output_shape(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = inputs
        *first, last = self.convs
        for conv in first:
            x = self.rounding(conv(x, training=training), place=conv.name)
        return last(x, training=training)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        for conv in self.convs:
            input_shape = conv.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "variant": self.variant,
            "norm": self.norm,
            "rounds": self.rounding.rounds,
            "first_filters": self.first_filters,
        }

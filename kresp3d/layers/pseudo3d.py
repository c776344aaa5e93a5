"""The pseudo-3D module of the paper's Fig. 2."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import ops

from kresp3d.layers.channel_attention import ChannelAttention
from kresp3d.layers.conv_norm import ConvNorm
from kresp3d.layers.factorized_conv import FactorizedConv
from kresp3d.layers.feature_residual import FeatureResidual
from kresp3d.layers.rounding import Rounding


@keras.saving.register_keras_serializable(package="kresp3d")
class Pseudo3D(keras.layers.Layer):
    """Appearance, motion and feature residual side by side, reweighted by attention (paper, Fig. 2 and Sec. 2.2).

            ┌─ 1×3² conv, BN, ReLU ─ appearance ──────┐
        f ──┼─ 3×1² conv, BN, ReLU ─ motion ──────────┼─ concatenate ─ channel attention ─▶
            └─ abs(f(t+1) - f(t)) ── feature residual ┘

    Args:
        filters: Channels of each convolution.
        spatial_stride: Stride of all three branches over rows and columns.
        attention: Whether channels are reweighted.
        feature_residual: Whether there is a third branch.
        attention_pool: See `ChannelAttention`.
        norm: See `ConvNorm`.
        rounds: Whether it computes with the values that an int8 network has; see `Rounding`.
        motion_filters: Channels of the convolution over time, where they are not as many.

    Input shape: `[batch, frames, height, width, channels]`.
    Output shape: `[batch, frames, ceil(height / stride), ceil(width / stride), filters + motion_filters]`, with
    `+ channels` where there is a feature residual.
    """

    def __init__(
        self,
        filters: int,
        spatial_stride: int = 1,
        attention: bool = True,
        feature_residual: bool = True,
        attention_pool: Literal["space_time", "space"] = "space_time",
        norm: str = "batch",
        rounds: bool = False,
        motion_filters: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.motion_filters = motion_filters or filters
        self.spatial_stride = spatial_stride
        self.attention_pool = attention_pool
        self.norm = norm
        policy, use_bias = self.dtype_policy, norm == "folded"
        appearance = FactorizedConv(filters, (1, 3), spatial_stride, use_bias=use_bias, dtype=policy, name="conv")
        motion = FactorizedConv(
            self.motion_filters, (3, 1), spatial_stride, use_bias=use_bias, dtype=policy, name="conv"
        )
        self.appearance = ConvNorm(appearance, norm, dtype=policy, name="appearance")
        self.motion = ConvNorm(motion, norm, dtype=policy, name="motion")
        self.feature_residual = (
            FeatureResidual(spatial_stride, rounds, dtype=policy, name="feature_residual") if feature_residual else None
        )
        # After the concatenation alone, whose parts an int8 network has in one range.
        self.rounding = Rounding(rounds=rounds, dtype=policy, name="rounding")
        self.attention = ChannelAttention(attention_pool, rounds, dtype=policy, name="attention") if attention else None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.appearance.build(input_shape)
        self.motion.build(input_shape)
        if self.feature_residual is not None:
            self.feature_residual.build(input_shape)
        if self.attention is not None:
            self.attention.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        f = ops.concatenate(list(self.branches(inputs, training=training).values()), axis=-1)
        f = self.rounding(f)
        return f if self.attention is None else self.attention(f)

    def branches(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """What is concatenated before the attention, in its order, by name: `[batch, frames, height, width, C]` each.

        `appearance` has `C = filters`, `motion` has `motion_filters`; `feature_residual`, where there is one, has the
        input's channels.
        """
        parts = {
            "appearance": self.appearance(inputs, training=training),
            "motion": self.motion(inputs, training=training),
        }
        if self.feature_residual is not None:
            parts["feature_residual"] = self.feature_residual(inputs)
        return parts

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        *rest, _ = self.appearance.compute_output_shape(input_shape)
        residual = 0 if self.feature_residual is None else input_shape[-1] or 0
        return (*rest, self.filters + self.motion_filters + residual)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "spatial_stride": self.spatial_stride,
            "attention": self.attention is not None,
            "feature_residual": self.feature_residual is not None,
            "attention_pool": self.attention_pool,
            "norm": self.norm,
            "rounds": self.rounding.rounds,
            "motion_filters": self.motion_filters,
        }

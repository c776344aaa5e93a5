"""The residual block of the network."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import ops

from kresp3d.layers.batch_norm import moving_statistics_stay
from kresp3d.layers.conv_norm import ConvNorm
from kresp3d.layers.factorized_conv import FactorizedConv
from kresp3d.layers.pseudo3d import Pseudo3D
from kresp3d.layers.rounding import Rounding


@keras.saving.register_keras_serializable(package="kresp3d")
class Bottleneck(keras.layers.Layer):
    """A ResNet bottleneck around the pseudo-3D module, or around a full 3D convolution.

        x ─┬─ 1×1² conv ─ pseudo-3D module | 3×3² conv ─ 1×1² conv ─(+)─ ReLU ─▶
           └─ identity, or 1×1² conv where the shape changes ───────┘

    Every convolution is followed by batch normalisation, and by ReLU unless the sum follows. Only what lies between
    the two pointwise convolutions differs between the paper's network and its 3D ResNet-50 baseline.

    Args:
        filters: Channels `C` inside; `C * expansion` come out.
        variant: `p3d` for the pseudo-3D module, `full3d` for a 3×3×3 convolution.
        spatial_stride: Stride of the middle and of the shortcut over rows and columns.
        expansion: Channels out, as a multiple of `filters`.
        attention: See `Pseudo3D`; like the next two, it has no effect on `full3d`.
        feature_residual: See `Pseudo3D`.
        attention_pool: See `Pseudo3D`.
        norm: See `ConvNorm`.
        rounds: Whether it computes with the values that an int8 network has; see `Rounding`.
        middle_filters: Channels of the appearance and the motion convolution, where they are not `C`; the first is that
            of the 3×3×3 convolution.
        output_filters: Channels that come out, where they are not `C * expansion`.

    Attributes:
        gradient_checkpointing: Whether training keeps the block's input alone and computes the rest anew for the
            gradient: less memory, more time. On the TensorFlow backend; no part of what is saved.

    Input shape: `[batch, frames, height, width, channels]`.
    Output shape: `[batch, frames, ceil(height / stride), ceil(width / stride), output_filters]`.
    """

    def __init__(
        self,
        filters: int,
        variant: Literal["p3d", "full3d"] = "p3d",
        spatial_stride: int = 1,
        expansion: int = 1,
        attention: bool = True,
        feature_residual: bool = True,
        attention_pool: Literal["space_time", "space"] = "space_time",
        norm: str = "batch",
        rounds: bool = False,
        middle_filters: tuple[int, int] | None = None,
        output_filters: int | None = None,
        **kwargs: Any,
    ) -> None:
        if variant not in ("p3d", "full3d"):
            raise ValueError(f"Bottleneck: variant must be 'p3d' or 'full3d', received {variant!r}")
        super().__init__(**kwargs)
        self.filters = filters
        self.variant = variant
        self.spatial_stride = spatial_stride
        self.expansion = expansion
        self.has_attention = attention
        self.has_feature_residual = feature_residual
        self.attention_pool = attention_pool
        self.norm = norm
        self.middle_filters = (filters, filters) if middle_filters is None else tuple(middle_filters)
        self.output_filters = output_filters or filters * expansion
        self.gradient_checkpointing = False
        places = ("reduce", "project", "shortcut", "output")
        self.rounding = Rounding(places, rounds=rounds, dtype=self.dtype_policy, name="rounding")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        policy = self.dtype_policy
        out = self.output_filters

        def pointwise(filters: int, name: str, stride: int = 1, relu: bool = True) -> ConvNorm:
            conv = FactorizedConv(filters, (1, 1), stride, use_bias=self.norm == "folded", dtype=policy, name="conv")
            return ConvNorm(conv, self.norm, relu, dtype=policy, name=name)

        self.reduce = pointwise(self.filters, "reduce")
        self.middle = self._middle()
        self.project = pointwise(out, "project", relu=False)
        same_shape = self.spatial_stride == 1 and input_shape[-1] == out
        self.shortcut = None if same_shape else pointwise(out, "shortcut", self.spatial_stride, relu=False)

        shape = input_shape
        for layer in (self.reduce, self.middle, self.project):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        if self.shortcut is not None:
            self.shortcut.build(input_shape)

    def _middle(self) -> keras.layers.Layer:
        policy = self.dtype_policy
        if self.variant == "full3d":
            stride = (1, self.spatial_stride, self.spatial_stride)
            conv = keras.layers.Conv3D(
                self.middle_filters[0],
                3,
                stride,
                padding="same",
                use_bias=self.norm == "folded",
                kernel_initializer="he_normal",
                dtype=policy,
                name="conv",
            )
            return ConvNorm(conv, self.norm, dtype=policy, name="conv3d")
        appearance, motion = self.middle_filters
        return Pseudo3D(
            appearance,
            self.spatial_stride,
            attention=self.has_attention,
            feature_residual=self.has_feature_residual,
            attention_pool=self.attention_pool,
            norm=self.norm,
            rounds=self.rounding.rounds,
            motion_filters=motion,
            dtype=policy,
            name="pseudo3d",
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self._checkpointed(inputs) if training and self.gradient_checkpointing else self._block(inputs, training)

    def _checkpointed(self, inputs: Any) -> Any:
        passes = iter(["forward"])

        def block(x: Any) -> Any:
            if next(passes, "backward") == "forward":
                return self._block(x, training=True)
            # The moving statistics have seen this batch.
            with moving_statistics_stay():
                return self._block(x, training=True)

        return keras.remat(block)(inputs)

    def _block(self, inputs: Any, training: bool | None) -> Any:
        x = self.rounding(self.reduce(inputs, training=training), place="reduce")
        x = self.middle(x, training=training)
        x = self.rounding(self.project(x, training=training), place="project")
        shortcut = inputs
        if self.shortcut is not None:
            shortcut = self.rounding(self.shortcut(inputs, training=training), place="shortcut")
        return self.rounding(ops.relu(x + shortcut))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        conv = FactorizedConv(self.output_filters, (1, 1), self.spatial_stride)
        return conv.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "variant": self.variant,
            "spatial_stride": self.spatial_stride,
            "expansion": self.expansion,
            "attention": self.has_attention,
            "feature_residual": self.has_feature_residual,
            "attention_pool": self.attention_pool,
            "norm": self.norm,
            "rounds": self.rounding.rounds,
            "middle_filters": self.middle_filters,
            "output_filters": self.output_filters,
        }

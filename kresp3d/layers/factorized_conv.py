"""One half of a factorised 3D convolution."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kresp3d.layers.subsample import subsample


@keras.saving.register_keras_serializable(package="kresp3d")
class FactorizedConv(keras.layers.Layer):
    """A `1×k×k` or `k×1×1` convolution, computed as a 2D convolution.

    The first folds frames into the batch, `[batch * frames, height, width, channels]`; the second folds the picture
    into one axis, `[batch, frames, height * width, channels]`, with a kernel of `(k, 1)`. The numbers are those of
    a `Conv3D` with the same kernel, and CPU libraries, LiteRT's int8 kernels and OpenVINO can use their 2D
    convolutions.

    Args:
        filters: Output channels.
        kernel_size: `(time, space)`: `(1, k)` for appearance, `(k, 1)` for motion, `(1, 1)` for a pointwise
            convolution.
        spatial_stride: Stride over rows and columns; frames are never skipped.
        kernel_initializer: As in `keras.layers.Conv2D`.
        use_bias: Whether a bias is added. Where batch normalisation follows there is none.

    Input shape: `[batch, frames, height, width, channels]`, all but the batch known.
    Output shape: `[batch, frames, ceil(height / stride), ceil(width / stride), filters]` ("same" padding).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: tuple[int, int],
        spatial_stride: int = 1,
        kernel_initializer: Any = "he_normal",
        use_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        time, space = kernel_size
        if min(time, space) != 1:
            raise ValueError(
                f"FactorizedConv: kernel_size must be (1, k) or (k, 1) with k of at least 1, received {kernel_size}"
            )
        if filters < 1 or spatial_stride < 1:
            raise ValueError(
                "FactorizedConv: filters and spatial_stride must be at least 1, "
                f"received filters={filters}, spatial_stride={spatial_stride}"
            )
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = (time, space)
        self.spatial_stride = spatial_stride
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.use_bias = use_bias

    @property
    def is_temporal(self) -> bool:
        """Whether the kernel reaches over time."""
        return self.kernel_size[0] > 1

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        time, space = self.kernel_size
        window = (time, 1) if self.is_temporal else (space, space)
        self.kernel = self.add_weight(
            shape=(*window, input_shape[-1], self.filters), initializer=self.kernel_initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias") if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        return self._over_time(inputs) if self.is_temporal else self._over_space(inputs)

    def _over_space(self, x: Any) -> Any:
        _, frames, *picture = x.shape
        x = ops.reshape(x, (-1, *picture))
        x = self._convolve(x, self.spatial_stride)
        return ops.reshape(x, (-1, frames, *x.shape[1:]))

    def _over_time(self, x: Any) -> Any:
        x = subsample(x, self.spatial_stride)
        _, frames, height, width, channels = x.shape
        x = ops.reshape(x, (-1, frames, height * width, channels))
        x = self._convolve(x)
        return ops.reshape(x, (-1, frames, height, width, self.filters))

    def _convolve(self, x: Any, stride: int = 1) -> Any:
        x = ops.conv(x, self.kernel, strides=stride, padding="same", data_format="channels_last")
        # Added before any reshape, so that converters see a convolution with a bias.
        return x if self.bias is None else x + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, frames, *picture, _ = input_shape
        strided = (None if side is None else math.ceil(side / self.spatial_stride) for side in picture)
        return (batch, frames, *strided, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "spatial_stride": self.spatial_stride,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "use_bias": self.use_bias,
        }

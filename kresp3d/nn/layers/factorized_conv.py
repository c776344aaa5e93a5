"""One half of a factorised 3D convolution."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kresp3d.nn.layers.arguments import whole_number, whole_numbers
from kresp3d.nn.layers.clip_shape import clip_axes, known_channels, sizes
from kresp3d.nn.layers.subsample import subsample


@keras.saving.register_keras_serializable(package="kresp3d")
class FactorizedConv(keras.layers.Layer):
    """A `1×k×k` or `k×1×1` convolution, computed as a 2D convolution (Chen et al. 2020, Sec. 2.2).

    The first folds frames into the batch, `[batch * frames, height, width, channels]`. The second folds height and
    width into one axis, `[batch, frames, height * width, channels]`, with a kernel of `(k, 1)`. Equal to a `Conv3D`
    with the same kernel; CPU libraries, LiteRT's int8 kernels and OpenVINO can use their 2D convolutions.

    Args:
        filters: Output channels.
        kernel_size: `(time, space)`: `(1, k)` for appearance, `(k, 1)` for motion, `(1, 1)` for a pointwise
            convolution.
        spatial_stride: Stride over rows and columns; frames are never skipped.
        use_bias: Whether a bias is added. Where batch normalisation follows there is none.
        activation: As in `keras.layers.Conv2D`.
        kernel_initializer: As in `keras.layers.Conv2D`.

    Input shape: `[batch, frames, height, width, channels]`, the channels known.
    Output shape: `[batch, frames, ceil(height / stride), ceil(width / stride), filters]` ("same" padding).

    Raises:
        ValueError: If an argument is out of range, the input is not 5D, or its channels are not known.

    Examples:
    ```python
    import numpy as np
    from kresp3d.nn.layers import FactorizedConv

    f = np.random.default_rng(0).normal(size=(1, 16, 9, 9, 32)).astype("float32")
    f_s = FactorizedConv(64, (1, 3), spatial_stride=2)(f)  # appearance, [1, 16, 5, 5, 64]
    f_m = FactorizedConv(64, (3, 1), spatial_stride=2)(f)  # motion, [1, 16, 5, 5, 64]
    ```
    """

    def __init__(
        self,
        filters: int,
        kernel_size: tuple[int, int],
        spatial_stride: int = 1,
        *,
        use_bias: bool = False,
        activation: Any = None,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ) -> None:
        if len(size := whole_numbers("FactorizedConv", "kernel_size", kernel_size)) != 2 or min(size) != 1:
            raise ValueError(
                f"FactorizedConv: kernel_size must be (time, space), either (1, k) or (k, 1), received {kernel_size!r}"
            )
        super().__init__(**kwargs)
        self.filters = whole_number("FactorizedConv", "filters", filters)
        self.kernel_size = size
        self.spatial_stride = whole_number("FactorizedConv", "spatial_stride", spatial_stride)
        self.use_bias = use_bias
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    @property
    def is_temporal(self) -> bool:
        """Whether the kernel reaches over time."""
        return self.kernel_size[0] > 1

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = known_channels(self.name, input_shape)
        time, space = self.kernel_size
        window = (time, 1) if self.is_temporal else (space, space)
        self.kernel = self.add_weight(
            shape=(*window, channels, self.filters), initializer=self.kernel_initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias") if self.use_bias else None
        self.input_spec = keras.layers.InputSpec(ndim=5, axes={-1: channels})

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, self.compute_dtype)
        return self._over_time(x) if self.is_temporal else self._over_space(x)

    def _over_space(self, x: Any) -> Any:
        frames, *picture = sizes(x)
        x = self._convolve(ops.reshape(x, (-1, *picture)), self.spatial_stride)
        return ops.reshape(x, (-1, frames, *sizes(x)))

    def _over_time(self, x: Any) -> Any:
        x = subsample(x, self.spatial_stride)
        frames, height, width, channels = sizes(x)
        x = self._convolve(ops.reshape(x, (-1, frames, height * width, channels)))
        return ops.reshape(x, (-1, frames, height, width, self.filters))

    def _convolve(self, x: Any, stride: int = 1) -> Any:
        x = ops.conv(x, self.kernel, strides=stride, padding="same", data_format="channels_last")
        # Bias and activation come before any reshape, so that converters see one convolution.
        return self.activation(x if self.bias is None else x + self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, frames, *picture, _ = clip_axes(self.name, input_shape)
        strided = (None if side is None else math.ceil(side / self.spatial_stride) for side in picture)
        return (batch, frames, *strided, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "spatial_stride": self.spatial_stride,
            "use_bias": self.use_bias,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

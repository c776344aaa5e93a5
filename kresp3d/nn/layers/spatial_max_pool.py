"""Max-pooling of every frame."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kresp3d.nn.layers.clip_shape import clip_axes, sizes


@keras.saving.register_keras_serializable(package="kresp3d")
class SpatialMaxPool(keras.layers.Layer):
    """A 3×3 max-pool with stride 2 over rows and columns, as after a ResNet's stem (He et al. 2016, Table 1).

    Frames are folded into the batch: 3D pooling has no LiteRT operator.

    Input shape: `[batch, frames, height, width, channels]`, the channels known.
    Output shape: `[batch, frames, ceil(height / 2), ceil(width / 2), channels]`.

    Raises:
        ValueError: If the input is not 5D.

    Examples:
    ```python
    import numpy as np
    from kresp3d.nn.layers import SpatialMaxPool

    f = np.random.default_rng(0).normal(size=(1, 16, 56, 56, 64)).astype("float32")
    pooled = SpatialMaxPool()(f)  # [1, 16, 28, 28, 64]
    ```
    """

    def call(self, inputs: Any) -> Any:
        clip_axes(self.name, inputs.shape)
        frames, *picture = sizes(inputs)
        x = ops.reshape(inputs, (-1, *picture))
        x = ops.max_pool(x, pool_size=3, strides=2, padding="same", data_format="channels_last")
        return ops.reshape(x, (-1, frames, *sizes(x)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, frames, *picture, channels = clip_axes(self.name, input_shape)
        return (batch, frames, *(None if side is None else math.ceil(side / 2) for side in picture), channels)

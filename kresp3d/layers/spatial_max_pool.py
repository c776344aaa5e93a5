"""Max-pooling of every frame."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kresp3d")
class SpatialMaxPool(keras.layers.Layer):
    """A 3×3 max-pool with stride 2 over rows and columns, as after a ResNet's stem.

    Frames are folded into the batch: 3D pooling has no LiteRT operator.

    Input shape: `[batch, frames, height, width, channels]`, all but the batch known.
    Output shape: `[batch, frames, ceil(height / 2), ceil(width / 2), channels]`.
    """

    def call(self, inputs: Any) -> Any:
        _, frames, *picture = inputs.shape
        x = ops.reshape(inputs, (-1, *picture))
        x = ops.max_pool(x, pool_size=3, strides=2, padding="same", data_format="channels_last")
        return ops.reshape(x, (-1, frames, *x.shape[1:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, frames, *picture, channels = input_shape
        return (batch, frames, *(None if side is None else -(-side // 2) for side in picture), channels)

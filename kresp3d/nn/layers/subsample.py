"""Skipping rows and columns of a clip."""

from __future__ import annotations

from typing import Any

from keras import ops

from kresp3d.nn.layers.clip_shape import sizes


def subsample(x: Any, stride: int) -> Any:
    """Keep every `stride`-th row and column, from the first on.

    Equal to `x[:, :, ::stride, ::stride]`, as a pool over single pixels: the gradient of a strided slice took
    a quarter of a training step on TensorFlow.

    Args:
        x: `[batch, frames, height, width, channels]`, the channels known.
        stride: At least 1.

    Returns:
        `[batch, frames, ceil(height / stride), ceil(width / stride), channels]`.
    """
    if stride == 1:
        return x
    frames, *picture = sizes(x)
    x = ops.reshape(x, (-1, *picture))
    x = ops.average_pool(x, pool_size=1, strides=stride, padding="same", data_format="channels_last")
    return ops.reshape(x, (-1, frames, *sizes(x)))

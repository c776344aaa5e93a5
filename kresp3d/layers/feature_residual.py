"""Feature residual: the difference of neighbouring feature maps."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kresp3d.layers.rounding import Rounding
from kresp3d.layers.subsample import subsample


@keras.saving.register_keras_serializable(package="kresp3d")
class FeatureResidual(keras.layers.Layer):
    """Motion in feature space, `abs(f(t + 1) - f(t))` (paper, Sec. 2.2).

    The last frame is repeated, so that the last difference is 0 and the number of frames stays.

    Args:
        spatial_stride: Keep every so many rows and columns, to match branches with a strided convolution.
        rounds: Whether it computes with the values that an int8 network has; see `Rounding`.

    Input shape: `[batch, frames, height, width, channels]`.
    Output shape: `[batch, frames, ceil(height / stride), ceil(width / stride), channels]`.
    """

    def __init__(self, spatial_stride: int = 1, rounds: bool = False, **kwargs: Any) -> None:
        if spatial_stride < 1:
            raise ValueError(f"FeatureResidual: spatial_stride must be at least 1, received {spatial_stride}")
        super().__init__(**kwargs)
        self.spatial_stride = spatial_stride
        self.rounding = Rounding(("later", "earlier"), rounds=rounds, dtype=self.dtype_policy, name="rounding")

    def call(self, inputs: Any) -> Any:
        f = subsample(inputs, self.spatial_stride)
        _, frames, *rest = f.shape
        # ops.slice, since the gradient of f[:, 1:] is ten times slower on TensorFlow, and a split has no int8 kernel.
        neighbours = (ops.shape(f)[0], frames - 1, *rest)
        following, preceding = (ops.slice(f, (0, start, 0, 0, 0), neighbours) for start in (1, 0))
        # abs(following - preceding); see ResidualFrames.
        later = self.rounding(ops.relu(following - preceding), place="later")
        earlier = self.rounding(ops.relu(preceding - following), place="earlier")
        return ops.pad(later + earlier, [(0, 0), (0, 1), (0, 0), (0, 0), (0, 0)])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, frames, *picture, channels = input_shape
        strided = (None if side is None else math.ceil(side / self.spatial_stride) for side in picture)
        return (batch, frames, *strided, channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "spatial_stride": self.spatial_stride, "rounds": self.rounding.rounds}

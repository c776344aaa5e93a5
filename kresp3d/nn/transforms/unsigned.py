"""Absolute differences whose parts have no sign, for networks that compute in integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from kresp3d.nn.layers import FeatureResidual, ResidualFrames
from kresp3d.nn.layers.frames import drop_frames

#: What a tensor of a name becomes.
Round = Callable[[str, Any], Any]


@keras.saving.register_keras_serializable(package="kresp3d")
class PositiveDifference(layers.Layer):
    """How much frames rise, `max(x[t + s] - x[t], 0)`, or fall.

    Args:
        step: The step size `s`.
        falls: Whether it gives `max(x[t] - x[t + s], 0)`.

    Input shape: `[batch, frames + step, height, width, channels]`, any numeric dtype.
    Output shape: `[batch, frames, height, width, channels]`, floating point.
    """

    def __init__(self, step: int = 1, falls: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.falls = falls

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, self.compute_dtype)
        later, earlier = drop_frames(x, first=self.step), drop_frames(x, last=self.step)
        return ops.relu(earlier - later if self.falls else later - earlier)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return ResidualFrames(self.step).compute_output_shape(input_shape)

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "step": self.step, "falls": self.falls}


def unsigned_difference(operation: ResidualFrames | FeatureResidual, x: Any, round_: Round = lambda name, x: x) -> Any:
    """Apply residual frames or a feature residual as the sum of a rise and a fall.

    Neither is ever negative, so that an int8 network spends all its 256 steps on the size of a difference and none on
    its sign.

    Args:
        operation: The layer, whose numbers these are.
        x: Its input.
        round_: Applied to every tensor on the way, with its name.
    """
    step = operation.step if isinstance(operation, ResidualFrames) else 1
    parts = []
    for name, falls in ((f"{operation.name}_rise", False), (f"{operation.name}_fall", True)):
        part = PositiveDifference(step, falls, dtype=operation.dtype_policy, name=name)(x)
        parts.append(round_(name, part))
    difference = layers.Add(dtype=operation.dtype_policy, name=operation.name)(parts)
    if isinstance(operation, ResidualFrames):
        return round_(operation.name, difference)
    # The last frame's; it is rounded with what it is concatenated to.
    pad = layers.ZeroPadding3D(
        ((0, 1), (0, 0), (0, 0)), "channels_last", dtype=operation.dtype_policy, name=f"{operation.name}_pad"
    )
    return pad(difference)

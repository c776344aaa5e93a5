"""Residual frames: the motion stream of the network."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kresp3d.layers.rounding import Rounding


@keras.saving.register_keras_serializable(package="kresp3d")
class ResidualFrames(keras.layers.Layer):
    """Absolute difference of frames `step` apart, `abs(x[t + s] - x[t])` (paper, Sec. 2.1).

    Computed in the layer's floating-point type, so that `uint8` frames do not wrap around; every difference of
    two `uint8` values is exact in float32, float16 and bfloat16 alike.

    Args:
        step: The step size `s`, at least 1.
        rounds: Whether it computes with the values that an int8 network has; see `Rounding`.

    Input shape: `[batch, frames + step, height, width, channels]`, any numeric dtype.
    Output shape: `[batch, frames, height, width, channels]`, floating point, in the units of the input.
    """

    def __init__(self, step: int = 1, rounds: bool = False, **kwargs: Any) -> None:
        if step < 1:
            raise ValueError(f"ResidualFrames: step must be at least 1, received {step}")
        super().__init__(**kwargs)
        self.step = step
        places = ("later", "earlier", "difference")
        self.rounding = Rounding(places, rounds=rounds, dtype=self.dtype_policy, name="rounding")

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, self.compute_dtype)
        first, second = x[:, : -self.step], x[:, self.step :]
        # abs(second - first). Neither part is ever negative, so that an int8 network spends all its 256 steps on the
        # size of a difference and none on its sign.
        later = self.rounding(ops.relu(second - first), place="later")
        earlier = self.rounding(ops.relu(first - second), place="earlier")
        return self.rounding(later + earlier, place="difference")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, frames, *rest = input_shape
        if frames is not None and frames <= self.step:
            raise ValueError(
                f"ResidualFrames: step {self.step} needs clips of at least {self.step + 1} frames, received {frames}"
            )
        return (batch, None if frames is None else frames - self.step, *rest)

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "step": self.step, "rounds": self.rounding.rounds}

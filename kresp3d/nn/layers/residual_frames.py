"""Residual frames: the motion stream of the network."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kresp3d.nn.layers.arguments import whole_number
from kresp3d.nn.layers.clip_shape import clip_axes


@keras.saving.register_keras_serializable(package="kresp3d")
class ResidualFrames(keras.layers.Layer):
    """Absolute difference of frames `step` apart, `|x[t + s] - x[t]|` (Chen et al. 2020, Sec. 2.1).

    Computed in the layer's floating-point type, so that `uint8` frames do not wrap around. Every difference of two
    `uint8` values is exact in float32, float16 and bfloat16 alike.

    Args:
        step: The step size `s`, at least 1.

    Input shape: `[batch, frames + step, height, width, channels]`, any numeric dtype.
    Output shape: `[batch, frames, height, width, channels]`, floating point, in the units of the input.

    Raises:
        ValueError: If the input is not 5D, or has no more than `step` frames.

    Examples:
    ```python
    import numpy as np
    from kresp3d.nn.layers import ResidualFrames

    frames = np.random.default_rng(0).integers(0, 256, (1, 17, 64, 64, 3), "uint8")
    residual = ResidualFrames(step=1)(frames)  # float32 [1, 16, 64, 64, 3] in [0, 255]
    ```
    """

    def __init__(self, step: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = whole_number("ResidualFrames", "step", step)

    def call(self, inputs: Any) -> Any:
        self._check(inputs.shape)
        x, s = ops.cast(inputs, self.compute_dtype), self.step
        return ops.abs(x[:, s:] - x[:, :-s])

    def _check(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        axes = clip_axes(self.name, shape)
        if axes[1] is not None and axes[1] <= self.step:
            raise ValueError(
                f"{self.name}: expected more frames than the step size of {self.step}, received an input {axes}"
            )
        return axes

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, frames, *rest = self._check(input_shape)
        return (batch, None if frames is None else frames - self.step, *rest)

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "step": self.step}

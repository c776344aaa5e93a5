"""Rescaling in steps that an int8 network takes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kresp3d.layers.rounding import Rounding


@keras.saving.register_keras_serializable(package="kresp3d")
class RoundedRescaling(keras.layers.Layer):
    """`inputs * scale + offset`, rounded after each of the two; see `Rounding`.

    With an offset the inputs are frames, of 0 to 255.

    Args:
        scale: The factor.
        offset: What is added; with 0 that step is left out.

    Input shape: any, any numeric type.
    Output shape: that of the input, floating point.
    """

    def __init__(self, scale: float, offset: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.offset = offset
        # Frames are whole numbers, so their ranges are known. With 257 steps no value of a frame lies half-way between
        # two values of the sum, where LiteRT and TensorFlow might round to different sides.
        known = {"product": (0.0, 255 * scale), "sum": (offset, offset + 257 * scale)}
        learned, fixed = ((), known) if offset else (("product",), {})
        self.rounding = Rounding(learned, fixed, dtype=self.dtype_policy, name="rounding")

    def call(self, inputs: Any) -> Any:
        x = self.rounding(ops.cast(inputs, self.compute_dtype) * self.scale, place="product")
        return self.rounding(x + self.offset, place="sum") if self.offset else x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}

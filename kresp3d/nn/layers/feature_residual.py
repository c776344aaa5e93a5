"""Feature residual: the difference of neighbouring feature maps."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kresp3d.nn.layers.clip_shape import clip_axes
from kresp3d.nn.layers.frames import drop_frames


@keras.saving.register_keras_serializable(package="kresp3d")
class FeatureResidual(keras.layers.Layer):
    """Motion in feature space, `|f(t + 1) - f(t)|` (Chen et al. 2020, Sec. 2.2).

    In the pseudo-3D module `f` is the motion feature, the output of the temporal convolution. The last frame has no
    next one and gets 0, so that the number of frames stays.

    Input shape: `[batch, frames, height, width, channels]`, any numeric dtype.
    Output shape: that of the input, floating point.

    Raises:
        ValueError: If the input is not 5D.

    Examples:
    ```python
    import numpy as np
    from kresp3d.nn.layers import FeatureResidual

    f_m = np.random.default_rng(0).normal(size=(1, 16, 8, 8, 32)).astype("float32")
    f_res = FeatureResidual()(f_m)  # [1, 16, 8, 8, 32], f_res[:, -1] is 0
    ```
    """

    def call(self, inputs: Any) -> Any:
        clip_axes(self.name, inputs.shape)
        # Integers would wrap around.
        f = ops.cast(inputs, self.compute_dtype)
        residual = ops.abs(drop_frames(f, first=1) - drop_frames(f, last=1))
        return ops.pad(residual, [(0, 0), (0, 1), (0, 0), (0, 0), (0, 0)])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return clip_axes(self.name, input_shape)

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

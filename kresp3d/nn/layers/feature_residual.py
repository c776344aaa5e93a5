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

    In the pseudo-3D module `f` is the motion feature, which a convolution over time gave. The last frame has none after
    it, and gets 0, so that the number of frames stays.

    Input shape: `[batch, frames, height, width, channels]`.
    Output shape: that of the input.

    Raises:
        ValueError: If the input is no clip.

    Example:
    ```python
    import numpy as np
    from kresp3d.nn.layers import FeatureResidual

    f_m = np.random.default_rng(0).normal(size=(1, 16, 8, 8, 32)).astype("float32")
    f_res = FeatureResidual()(f_m)  # [1, 16, 8, 8, 32], f_res[:, -1] is 0
    ```
    """

    def call(self, inputs: Any) -> Any:
        clip_axes(self.name, inputs.shape)
        residual = ops.abs(drop_frames(inputs, first=1) - drop_frames(inputs, last=1))
        return ops.pad(residual, [(0, 0), (0, 1), (0, 0), (0, 0), (0, 0)])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return clip_axes(self.name, input_shape)

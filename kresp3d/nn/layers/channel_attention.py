"""Self-attention over channels."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import ops

from kresp3d.nn.layers.clip_shape import clip_axes, known_channels, sizes


@keras.saving.register_keras_serializable(package="kresp3d")
class ChannelAttention(keras.layers.Layer):
    """Reweight channels by `f * M + f` with the mask `M = sigmoid(W pool(f) + b)` (Chen et al. 2020, Sec. 2.2).

    A channel with a mask of 0 passes as it is, one with a mask of 1 is doubled. The paper calls it self-attention. It
    is a gate as in squeeze-and-excitation (Hu et al. 2018), with one dense layer and a shortcut; nothing here compares
    queries with keys.

    Args:
        pool: `space_time` averages over frames, height and width, so one mask serves all frames, as the paper's text
            says. `space` averages over height and width, so every frame has its own, as the shape given there for `M`
            says.

    Input shape: `[batch, frames, height, width, channels]`, the channels known.
    Output shape: that of the input.

    Raises:
        ValueError: If `pool` is neither, the input is not 5D, or its channels are not known.

    Examples:
    ```python
    import numpy as np
    from kresp3d.nn.layers import ChannelAttention

    f = np.random.default_rng(0).normal(size=(1, 16, 8, 8, 96)).astype("float32")
    attention = ChannelAttention()
    f_att = attention(f)  # [1, 16, 8, 8, 96]
    mask = attention.mask(f)  # [1, 1, 1, 1, 96] in (0, 1)
    ```
    """

    def __init__(self, pool: Literal["space_time", "space"] = "space_time", **kwargs: Any) -> None:
        if pool not in ("space_time", "space"):
            raise ValueError(f"ChannelAttention: pool must be 'space_time' or 'space', received {pool!r}")
        super().__init__(**kwargs)
        self.pool = pool

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = known_channels(self.name, input_shape)
        self.kernel = self.add_weight(shape=(channels, channels), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias")
        self.input_spec = keras.layers.InputSpec(ndim=5, axes={-1: channels})

    def call(self, inputs: Any) -> Any:
        f = ops.cast(inputs, self.compute_dtype)
        # f * M + f, with one pass over f instead of two.
        return f * (self.mask(f) + 1)

    def mask(self, f: Any) -> Any:
        """Return the mask `M` of a feature map, `[batch, 1, 1, 1, channels]` or, with `space`, `[batch, frames, …]`."""
        if not self.built:
            self.build(tuple(f.shape))
        f = ops.cast(f, self.compute_dtype)
        pooled = ops.mean(f, axis=(2, 3), keepdims=True)
        if self.pool == "space_time":
            # Not one mean over three axes: OpenVINO's is so slow that it takes 4 % of the network's time.
            pooled = ops.mean(pooled, axis=1, keepdims=True)
        # In two axes, since converters then see one fully connected layer with its bias.
        logits = ops.matmul(ops.reshape(pooled, (-1, pooled.shape[-1])), ops.cast(self.kernel, f.dtype))
        logits = logits + ops.cast(self.bias, f.dtype)
        return ops.reshape(ops.sigmoid(logits), (-1, *sizes(pooled)))

    def mask_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the mask for an input of a shape."""
        batch, frames, _, _, channels = clip_axes(self.name, input_shape)
        return (batch, 1 if self.pool == "space_time" else frames, 1, 1, channels)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return clip_axes(self.name, input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool": self.pool}

"""A convolution with its batch normalisation and ReLU."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kresp3d.layers.batch_norm import BatchNorm


@keras.saving.register_keras_serializable(package="kresp3d")
class ConvNorm(keras.layers.Layer):
    """Convolution, batch normalisation and, unless told otherwise, ReLU.

    Args:
        conv: The convolution; it has a bias where `norm` is `folded`, and none elsewhere.
        norm: `batch`; `sync_batch` to take the statistics over all replicas; `folded` where the normalisation is part
            of the convolution's kernel and bias, as in the network that `inference_network` makes.
        relu: Whether a ReLU follows.

    Input and output shape: those of `conv`.
    """

    def __init__(self, conv: keras.layers.Layer, norm: str = "batch", relu: bool = True, **kwargs: Any) -> None:
        if norm not in ("batch", "sync_batch", "folded"):
            raise ValueError(f"ConvNorm: norm must be 'batch', 'sync_batch' or 'folded', received {norm!r}")
        super().__init__(**kwargs)
        self.conv = conv
        self.norm = (
            None
            if norm == "folded"
            else BatchNorm(relu=relu, synchronized=norm == "sync_batch", dtype=self.dtype_policy, name="norm")
        )
        self.relu = relu

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        # A convolution read from a file comes built.
        if not self.conv.built:
            self.conv.build(input_shape)
        if self.norm is not None:
            self.norm.build(self.conv.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = self.conv(inputs)
        if self.norm is not None:
            return self.norm(x, training=training)
        return ops.relu(x) if self.relu else x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        shape: tuple[int | None, ...] = self.conv.compute_output_shape(input_shape)
        return shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "conv": keras.saving.serialize_keras_object(self.conv),
            "norm": "folded" if self.norm is None else "sync_batch" if self.norm.synchronized else "batch",
            "relu": self.relu,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ConvNorm:
        return cls(**{**config, "conv": keras.saving.deserialize_keras_object(config["conv"])})

"""Rounding activations as an int8 network does."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

#: What a step of training adds to a range: a hundredth of the batch's.
DECAY = 0.99


class _Range(keras.layers.Layer):
    """A layer that knows the range of its input.

    Args:
        fixed: The lowest, at most 0, and the highest value, where these are known.
    """

    def __init__(self, fixed: tuple[float, float] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fixed = None if fixed is None else (float(fixed[0]), float(fixed[1]))
        low, high = self.fixed or (self._bound("low"), self._bound("high"))
        self.low: Any = low
        self.high: Any = high
        # They are numbers, which wait for no input's shape.
        self.built = True

    def _bound(self, name: str) -> keras.Variable:
        return self.add_weight(
            shape=(), initializer="zeros", trainable=False, autocast=False, aggregation="mean", name=name
        )

    def compute_output_spec(self, inputs: Any, learns: bool = True, training: bool | None = None) -> Any:
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fixed": self.fixed}


@keras.saving.register_keras_serializable(package="kresp3d")
class Rounding(_Range):
    """Rounds a tensor to 256 values, as an int8 network has it.

    The gradient is that of the input inside the range, and 0 outside. In training a range moves towards that of the
    input first, by tensorflow-model-optimization's moving averages. On the TensorFlow backend.

    Args:
        fixed: The lowest, at most 0, and the highest value, where these are known; otherwise they are learned.

    Input and output shape: any.
    """

    def call(self, inputs: Any, learns: bool = True, training: bool | None = None) -> Any:
        """Round.

        Args:
            inputs: Any tensor.
            learns: Whether training moves the range. Not where another tensor, which has the same, does.
            training: Whether this is training.
        """
        from kresp3d.compression import tfmot_bridge

        if self.fixed is not None:
            return tfmot_bridge.round_in_fixed_range(inputs, *self.fixed)
        # The variables of the backend: a stateless scope would give their values.
        low, high = self.low._value, self.high._value
        return tfmot_bridge.round_in_moving_range(inputs, low, high, decay=DECAY, training=bool(training) and learns)

    def step(self) -> Any:
        """The difference of two neighbouring values."""
        return (ops.convert_to_tensor(self.high) - ops.convert_to_tensor(self.low)) / 255


class RangeObserver(_Range):
    """Lets a tensor pass as it is, and widens its range, of which 0 is a part, to what it sees; see `Rounding`."""

    def call(self, inputs: Any, learns: bool = True, training: bool | None = None) -> Any:
        if self.fixed is None:
            self.low.assign(ops.minimum(self.low, ops.cast(ops.min(inputs), "float32")))
            self.high.assign(ops.maximum(self.high, ops.cast(ops.max(inputs), "float32")))
        return inputs


def rounds_as_int8(network: keras.Model) -> bool:
    """Return whether a network rounds as its int8 file does."""
    return any(isinstance(layer, Rounding) for layer in network.layers)

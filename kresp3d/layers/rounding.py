"""Rounding activations as an int8 network does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import keras

#: What a step of training adds to a range: a hundredth of the batch's.
DECAY = 0.99

_observing: ContextVar[bool] = ContextVar("observing", default=False)


@contextmanager
def observing_ranges() -> Iterator[None]:
    """Have the roundings that are called inside widen their ranges to what they see, and let it pass as it is."""
    token = _observing.set(True)
    try:
        yield
    finally:
        _observing.reset(token)


@keras.saving.register_keras_serializable(package="kresp3d")
class Rounding(keras.layers.Layer):
    """Rounds tensors to 256 values each, as an int8 network has them.

    The gradient is that of the input inside the range, and 0 outside. On the TensorFlow backend, by
    tensorflow-model-optimization's moving averages of ranges.

    Args:
        learned: Names of tensors whose range is that which they have in training.
        fixed: Names of tensors whose range is known, and that range: lowest, at most 0, and highest value.
        rounds: Whether it rounds at all; otherwise everything passes, and there are no weights.

    Input and output shape: any.
    """

    def __init__(
        self,
        learned: Sequence[str] = ("output",),
        fixed: Mapping[str, tuple[float, float]] = MappingProxyType({}),
        rounds: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.learned = tuple(learned)
        self.fixed = {place: tuple(bounds) for place, bounds in fixed.items()}
        self.rounds = rounds
        places = self.learned if self.rounds else ()
        self.ranges = {place: (self._bound(place, "low"), self._bound(place, "high")) for place in places}
        # They are numbers, which wait for no input's shape.
        self.built = True

    def _bound(self, place: str, name: str) -> keras.Variable:
        return self.add_weight(
            shape=(), initializer="zeros", trainable=False, autocast=False, aggregation="mean", name=f"{place}_{name}"
        )

    def step(self, place: str) -> Any:
        """The difference of two neighbouring values of a tensor."""
        low, high = self.fixed[place] if place in self.fixed else (bound.value for bound in self.ranges[place])
        return (high - low) / 255

    def __call__(self, inputs: Any, *arguments: Any, **options: Any) -> Any:
        # Nearly every network does not round, and is built and traced faster without the calls.
        return super().__call__(inputs, *arguments, **options) if self.rounds else inputs

    def call(self, inputs: Any, place: str = "output", training: bool | None = None) -> Any:
        from kresp3d.compression import tfmot_bridge

        if place in self.fixed:
            return tfmot_bridge.round_in_fixed_range(inputs, *self.fixed[place])
        # The variables of the backend: a stateless scope would give their values.
        low, high = (bound._value for bound in self.ranges[place])
        if _observing.get():
            tfmot_bridge.widen_range(inputs, low, high)
            return inputs
        return tfmot_bridge.round_in_moving_range(inputs, low, high, decay=DECAY, training=bool(training))

    def compute_output_spec(self, inputs: Any, place: str = "output", training: bool | None = None) -> Any:
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "learned": self.learned, "fixed": self.fixed, "rounds": self.rounds}

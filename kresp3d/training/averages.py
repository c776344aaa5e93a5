"""The weights that are validated and kept: the moving average, where `training.ema` asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from kresp3d.nn.averages import averaged_weights, swap_averages


@contextmanager
def kept_weights(model: keras.Model) -> Iterator[None]:
    """Within the block a `ScoredModel` has the weights that are kept of it.

    Those are the moving averages, where the optimiser keeps them, and for kernels the values with which the model
    computes.
    """
    with averaged_weights(model):
        held = []
        for variable, value in model.kernel_values():
            held.append((variable, variable.numpy()))
            variable.assign(value)
        try:
            yield
        finally:
            for variable, value in held:
                variable.assign(value)


class AveragedValidation(keras.callbacks.Callback):
    """Validates with the moving average of the weights."""

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        swap_averages(self.model)

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        swap_averages(self.model)

"""The moving average of the weights, which is what is validated and kept where `training.ema` asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


def moving_averages(model: keras.Model) -> list[tuple[keras.Variable, keras.Variable]]:
    """Each trained variable of a model with its moving average; none where its optimiser, a built one, keeps none."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        return []
    return list(zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True))


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


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Within the block a model has the moving average of its weights, if its optimiser keeps one."""
    _swap_averages(model)
    try:
        yield
    finally:
        _swap_averages(model)


class AveragedValidation(keras.callbacks.Callback):
    """Validates with the moving average of the weights."""

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        _swap_averages(self.model)

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        _swap_averages(self.model)


def _swap_averages(model: keras.Model) -> None:
    # Keras' SwapEMAWeights adds and subtracts, which rounds: training would not go on from the very same weights.
    for variable, average in moving_averages(model):
        held = variable.numpy()
        variable.assign(average.numpy())
        average.assign(held)

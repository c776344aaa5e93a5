"""The moving average of a network's weights that its optimiser keeps."""

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
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Within the block a model has the moving average of its weights, if its optimiser keeps one."""
    swap_averages(model)
    try:
        yield
    finally:
        swap_averages(model)


def swap_averages(model: keras.Model) -> None:
    """Give a model the moving average in place of its weights, and the weights in place of that."""
    # Keras' SwapEMAWeights adds and subtracts, which rounds: training would not go on from the very same weights.
    for variable, average in moving_averages(model):
        held = variable.numpy()
        variable.assign(average.numpy())
        average.assign(held)

"""The loop of a training: the same for one device, several, and several hosts.

Keras' own `fit` adds up figures in a way that fails where a `MultiWorkerMirroredStrategy` trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kresp3d.training.validation import ScoredModel

Figures = dict[str, float]


def fit(
    model: ScoredModel,
    training: Iterable[Any],
    validation: Iterable[Any] | None,
    *,
    steps: int,
    epochs: int,
    first_epoch: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train a compiled model, and validate it after every epoch.

    Callbacks are told what those of Keras' `fit` are: after a step the loss of the epoch so far, after an epoch all
    figures, those of validation as `val_…`.

    Args:
        model: To be trained.
        training: Batches without end, of each replica's own clips; see `distributed`.
        validation: Batches, likewise, of as many for every replica; `None` without validation.
        steps: Batches that make an epoch.
        epochs: Number of the epoch after the last, counted from 0.
        first_epoch: Epochs that are done already.
        callbacks: Called in this order; one that sets `model.stop_training` ends the training with its epoch.
    """
    told = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs, steps=steps, add_history=False)
    train, test = training_step(model), _step(model, model.test_step)
    clips = iter(training)
    model.stop_training = False
    told.on_train_begin()
    for epoch in range(first_epoch, epochs):
        told.on_epoch_begin(epoch)
        _reset(model)
        for step in range(steps):
            told.on_train_batch_begin(step)
            loss = train(next(clips))
            told.on_train_batch_end(step, {"loss": float(loss)})
        logs = _figures(model)
        if validation is not None:
            told.on_test_begin()
            _reset(model)
            for batch in validation:
                test(batch)
            found = _figures(model)
            told.on_test_end(found)
            logs |= {f"val_{name}": value for name, value in found.items()}
        told.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    told.on_train_end()


def distributed(dataset: tf.data.Dataset, strategy: tf.distribute.Strategy | None) -> Any:
    """Batches for the replicas of this worker, one after another: what `fit` takes."""
    return dataset if strategy is None else strategy.distribute_datasets_from_function(lambda _: dataset)


def training_step(model: ScoredModel) -> Callable[[Any], tf.Tensor]:
    """A function that trains a compiled model on a batch of `distributed`, and gives the loss."""
    return _step(model, model.train_step)


def _step(model: ScoredModel, compute: Callable[[Any], dict[str, Any]]) -> Callable[[Any], tf.Tensor]:
    strategy = model.distribute_strategy

    def step(batch: Any) -> tf.Tensor:
        loss = strategy.run(compute, args=(batch,))["loss"]
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, loss, axis=None)

    # Nothing in it is written for AutoGraph.
    function: Callable[[Any], tf.Tensor] = tf.function(
        tf.autograph.experimental.do_not_convert(step), jit_compile=model.jit_compile, reduce_retracing=True
    )
    return function


# What several hosts add up is read, and written, in functions: outside of one TensorFlow starts threads for each
# number, and leaves them open when a host is gone.


def _reset(model: ScoredModel) -> None:
    """Set the metrics, and the scores of the videos, back to nothing."""

    def reset() -> None:
        model.reset_metrics()
        if model.video_scores is not None:
            model.video_scores.reset()

    # Traced each time, since there are more metrics after the first step.
    tf.function(lambda: model.distribute_strategy.run(reset), autograph=False)()


def _figures(model: ScoredModel) -> Figures:
    """What the metrics have come to, over all replicas."""
    found = tf.function(model.get_metrics_result, autograph=False)()
    return {name: float(value) for name, value in found.items()}

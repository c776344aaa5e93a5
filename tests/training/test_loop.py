"""The loop comes to what Keras' own comes to, and tells callbacks the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kresp3d.config.schema import parse_config
from kresp3d.nn import P3DResNet
from kresp3d.training.compiled import compile_model
from kresp3d.training.loop import distributed, fit

STEPS = 3


class Told(keras.callbacks.Callback):
    """Notes what it is told, and ends the training with an epoch."""

    def __init__(self, end=None):
        super().__init__()
        self.end = end
        self.calls = []
        self.figures = []

    def on_train_begin(self, logs=None):
        self.calls.append(("train", self.params["epochs"], self.params["steps"]))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("epoch", epoch))

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(("step", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("step ends", batch))
        self.figures.append(logs["loss"])

    def on_test_begin(self, logs=None):
        self.calls.append(("test",))

    def on_test_end(self, logs=None):
        self.calls.append(("test ends",))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("epoch ends", epoch, *sorted(logs)))
        self.figures.append(dict(logs))
        self.model.stop_training = epoch == self.end

    def on_train_end(self, logs=None):
        self.calls.append(("train ends",))


def data(seed, batches):
    random = np.random.default_rng(seed)
    clips = random.integers(0, 256, (4 * batches, 3, 16, 16, 3), np.uint8)
    return tf.data.Dataset.from_tensor_slices(({"frames": clips}, random.integers(0, 3, 4 * batches))).batch(4)


def trained(how, told, *, epochs=2, **training):
    keras.utils.set_random_seed(0)
    network = P3DResNet(classes=3, frames=2, size=16, width=4, blocks=(1,), fc1=8, dropout=0.5)
    config = parse_config(
        {
            "training": {
                "precision": "float32",
                "optimizer": "sgd",
                "learning_rate": 0.1,
                "weight_decay": 1e-4,
                "ema": None,
                **training,
            }
        },
        "the test",
    )
    model = compile_model(network, config.training, 3, STEPS)
    how(model, data(0, epochs * STEPS).repeat(), data(1, 2), epochs, [told])
    return model


def ours(model, training, validation, epochs, callbacks):
    fit(model, training, validation, steps=STEPS, epochs=epochs, callbacks=callbacks)


def of_keras(model, training, validation, epochs, callbacks):
    model.fit(
        training, validation_data=validation, steps_per_epoch=STEPS, epochs=epochs, callbacks=callbacks, verbose=0
    )


@pytest.mark.parametrize("training", [{}, {"precision": "mixed_float16"}, {"jit_compile": True}], ids=str)
def test_weights_figures_and_calls_are_those_of_keras(training):
    mine, yours = Told(), Told()
    one, two = trained(ours, mine, **training), trained(of_keras, yours, **training)
    assert mine.calls == yours.calls
    for ours_found, theirs in zip(mine.figures, yours.figures, strict=True):
        assert ours_found == pytest.approx(theirs, rel=1e-5)
    for weights, others in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(weights, others, rtol=1e-4, atol=1e-5)


def test_a_callback_ends_the_training_with_its_epoch():
    told = Told(end=0)
    trained(ours, told, epochs=3)
    assert told.calls[-2:] == [("epoch ends", 0, *sorted(told.figures[-1])), ("train ends",)]
    assert told.calls.count(("epoch", 1)) == 0


def test_without_a_strategy_batches_are_given_as_they_are():
    dataset = data(0, 1)
    assert distributed(dataset, None) is dataset
    [batch] = distributed(dataset, tf.distribute.OneDeviceStrategy("CPU:0"))
    np.testing.assert_array_equal(batch[1], next(iter(dataset))[1])

from __future__ import annotations

import keras
import numpy as np
import pytest

from kresp3d.nn.averages import averaged_weights, moving_averages


@pytest.mark.parametrize("scaled", [False, True])
def test_the_block_has_the_averages_and_the_weights_come_back_to_the_last_bit(scaled: bool) -> None:
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(3)])
    optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.7)
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
    expected = None
    for _ in range(4):
        model.train_on_batch(np.ones((4, 2)), np.zeros((4, 3)))
        now = [weight.copy() for weight in model.get_weights()]
        old = now if expected is None else expected
        expected = [0.7 * average + 0.3 * weight for average, weight in zip(old, now, strict=True)]
    before = model.get_weights()
    assert [v.path for v, _ in moving_averages(model)] == [v.path for v in model.trainable_variables]
    with pytest.raises(RuntimeError), averaged_weights(model):
        for found, average in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_allclose(found, average, rtol=1e-5)
        raise RuntimeError
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_without_averages_nothing_changes() -> None:
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    assert moving_averages(model) == []
    with averaged_weights(model):
        for weight, kept in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, kept)

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kresp3d.compression.rounding import DECAY, RangeObserver, Rounding

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="rounding is TensorFlow's")


def on_the_grid(values, low, high):
    """Values rounded to 256 in a range that is moved so that 0 is one of them, by NumPy."""
    step = (high - low) / 255
    zero = np.clip(np.round(-low / step), 0, 255)
    return (np.clip(np.round(values / step), -zero, 255 - zero)) * step


@settings(deadline=None, max_examples=30)
@given(st.floats(-10, 0), st.floats(0.1, 10), st.integers(0, 99))
def test_values_go_to_the_nearest_of_256_of_which_zero_is_one(low, high, seed):
    layer = Rounding((low, high))
    values = np.random.default_rng(seed).uniform(2 * low - 0.1, 2 * high, 500).astype(np.float32)
    found = np.asarray(layer(values))
    assert np.abs(found - on_the_grid(values, np.float32(low), np.float32(high))).max() <= (high - low) / 255 * 1.001
    inside = values[(values > found.min()) & (values < found.max())]
    nearest = np.asarray(layer(inside))
    assert np.abs(nearest - inside).max(initial=0) <= (high - low) / 255 / 2 * 1.001
    assert len(np.unique(found)) <= 256 and float(np.asarray(layer(np.zeros(1, np.float32)))[0]) == 0


def test_ranges_are_observed_and_then_follow_the_batches():
    observer, batch = RangeObserver(), np.array([-1.0, 0.0, 3.0], np.float32)
    for seen in (batch, 2 * batch):
        np.testing.assert_array_equal(observer(seen), seen)
    assert [float(weight) for weight in observer.get_weights()] == [-2.0, 6.0]
    layer = Rounding()
    layer.set_weights(observer.get_weights())
    layer(batch, training=True)
    low, high = layer.get_weights()
    assert low == pytest.approx(-2 * DECAY - 1 * (1 - DECAY)) and high == pytest.approx(6 * DECAY + 3 * (1 - DECAY))
    assert float(layer.step()) == pytest.approx((high - low) / 255)
    layer(100 * batch, training=False)
    layer(100 * batch, learns=False, training=True)
    assert layer.get_weights() == [low, high]


def test_a_range_of_positive_values_begins_at_zero():
    observer = RangeObserver()
    observer(np.array([2.0, 5.0], np.float32))
    assert [float(weight) for weight in observer.get_weights()] == [0.0, 5.0]


def test_a_known_range_is_no_weight():
    layer = Rounding((0.0, 2.0))
    assert layer.weights == [] and float(layer.step()) == pytest.approx(2 / 255)


def test_the_gradient_passes_inside_the_range_and_not_outside():
    import tensorflow as tf

    layer = Rounding((-1.0, 1.0))
    values = tf.constant([-2.0, -0.5, 0.3, 0.9, 4.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(layer(values) * tf.constant([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert tape.gradient(total, values).numpy().tolist() == [0, 2, 3, 4, 0]


def test_it_is_the_same_after_saving(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Rounding((-1.0, 2.0), name="known")(Rounding(name="learned")(inputs)))
    values = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    model.get_layer("learned").set_weights([values.min(), values.max()])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(values), model(values))
    assert len(np.unique(np.asarray(model(values)))) > 20

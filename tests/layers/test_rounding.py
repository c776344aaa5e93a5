from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kresp3d.layers import RoundedRescaling, Rounding
from kresp3d.layers.rounding import DECAY, observing_ranges

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="rounding is TensorFlow's")


def on_the_grid(values, low, high):
    """Values rounded to 256 in a range that is moved so that 0 is one of them, by NumPy."""
    step = (high - low) / 255
    zero = np.clip(np.round(-low / step), 0, 255)
    return (np.clip(np.round(values / step), -zero, 255 - zero)) * step


def test_without_rounding_everything_passes_and_there_are_no_weights():
    layer = Rounding(("a", "b"), {"c": (0.0, 1.0)}, rounds=False)
    values = np.array([0.123, -4.5], np.float32)
    for place in "abc":
        np.testing.assert_array_equal(layer(values, place=place, training=True), values)
    assert layer.weights == []


@settings(deadline=None, max_examples=30)
@given(st.floats(-10, 0), st.floats(0.1, 10), st.integers(0, 99))
def test_values_go_to_the_nearest_of_256_of_which_zero_is_one(low, high, seed):
    layer = Rounding(fixed={"output": (low, high)}, learned=())
    values = np.random.default_rng(seed).uniform(2 * low - 0.1, 2 * high, 500).astype(np.float32)
    found = np.asarray(layer(values))
    assert np.abs(found - on_the_grid(values, np.float32(low), np.float32(high))).max() <= (high - low) / 255 * 1.001
    inside = values[(values > found.min()) & (values < found.max())]
    nearest = np.asarray(layer(inside))
    assert np.abs(nearest - inside).max(initial=0) <= (high - low) / 255 / 2 * 1.001
    assert len(np.unique(found)) <= 256 and float(np.asarray(layer(np.zeros(1, np.float32)))[0]) == 0


def test_ranges_are_observed_and_then_follow_the_batches():
    layer = Rounding(("one", "two"))
    batch = np.array([-1.0, 0.0, 3.0], np.float32)
    with observing_ranges():
        np.testing.assert_array_equal(layer(batch, place="two"), batch)
        layer(2 * batch, place="two")
    values = {v.name: float(v.numpy()) for v in layer.weights}
    assert values == {"one_low": 0.0, "one_high": 0.0, "two_low": -2.0, "two_high": 6.0}
    layer(batch, place="two", training=True)
    low, high = (float(bound.numpy()) for bound in layer.ranges["two"])
    assert low == pytest.approx(-2 * DECAY - 1 * (1 - DECAY)) and high == pytest.approx(6 * DECAY + 3 * (1 - DECAY))
    layer(100 * batch, place="two", training=False)
    assert float(layer.ranges["two"][1].numpy()) == high


def test_the_gradient_passes_inside_the_range_and_not_outside():
    import tensorflow as tf

    layer = Rounding(fixed={"output": (-1.0, 1.0)}, learned=())
    values = tf.constant([-2.0, -0.5, 0.3, 0.9, 4.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(layer(values) * tf.constant([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert tape.gradient(total, values).numpy().tolist() == [0, 2, 3, 4, 0]


def test_it_is_the_same_after_saving(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Rounding(name="rounding")(inputs))
    values = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    with observing_ranges():
        model(values)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(values), model(values))
    assert len(np.unique(np.asarray(model(values)))) > 20


def test_rescaled_frames_lie_on_a_grid_and_never_between_two_of_its_values():
    layer = RoundedRescaling(1 / 127.5, -1.0)
    frames = np.arange(256, dtype=np.uint8)
    exact = frames / 127.5 - 1
    step = 257 / 127.5 / 255
    np.testing.assert_allclose(np.asarray(layer(frames)), exact, atol=0.51 * step)
    places = exact / step
    assert np.abs(places - np.floor(places) - 0.5).min() > 1e-3, "to which side it is rounded does not depend on noise"


def test_rescaling_without_an_offset_is_a_factor():
    layer = RoundedRescaling(1 / 32)
    values = np.array([0.0, 16.0, 255.0], np.float32)
    with observing_ranges():
        np.testing.assert_array_equal(layer(values), values / 32)
    np.testing.assert_allclose(np.asarray(layer(values)), values / 32, atol=255 / 32 / 255 / 2)
    assert layer.compute_output_shape((None, 3)) == (None, 3)

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kresp3d.nn.layers import ResidualFrames


def by_hand(clip, step):
    """|x[t + s] - x[t]| one value at a time, in Python integers."""
    batch, length, height, width, channels = clip.shape
    out = np.zeros((batch, length - step, height, width, channels))
    for index in np.ndindex(out.shape):
        b, t, *pixel = index
        out[index] = abs(int(clip[(b, t + step, *pixel)]) - int(clip[(b, t, *pixel)]))
    return out


@settings(max_examples=25, deadline=None)
@given(step=st.integers(1, 4), extra=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_equals_a_loop_over_all_values_for_any_step(step, extra, seed):
    clip = np.random.default_rng(seed).integers(0, 256, (2, step + extra, 2, 3, 3)).astype("uint8")
    np.testing.assert_array_equal(ResidualFrames(step)(clip), by_hand(clip, step))


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_uint8_differences_do_not_wrap_around(dtype):
    clip = np.array([255, 0, 1, 254], dtype="uint8").reshape(1, 4, 1, 1, 1)
    out = keras.ops.convert_to_numpy(keras.ops.cast(ResidualFrames(1, dtype=dtype)(clip), "float32"))
    np.testing.assert_array_equal(out.ravel(), [255, 1, 253])


def test_every_difference_of_uint8_values_is_exact_in_bfloat16():
    first, second = (values.ravel() for values in np.mgrid[0:256, 0:256])
    clip = np.stack([first, second]).astype("uint8").reshape(1, 2, 256, 256, 1)
    out = keras.ops.cast(ResidualFrames(1, dtype="mixed_bfloat16")(clip), "float32")
    np.testing.assert_array_equal(np.ravel(out), np.abs(first - second))


def test_gradient_flows_to_both_frames():
    clip = tf.Variable(np.array([1.0, 5.0, 2.0], dtype="float32").reshape(1, 3, 1, 1, 1))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(ResidualFrames(1)(clip))
    # d|b-a| + d|c-b| for a < b > c.
    np.testing.assert_array_equal(np.ravel(tape.gradient(total, clip)), [-1, 2, -1])


def test_common_checks(check_layer, tmp_path):
    check_layer(ResidualFrames, {"step": 2}, (3, 7, 4, 5, 3), (3, 5, 4, 5, 3), 0, 0, tmp_path)


def test_uint8_input_gives_floating_point_in_a_functional_model():
    frames = keras.Input((4, 2, 2, 3), dtype="uint8")
    assert keras.Model(frames, ResidualFrames(1)(frames)).output.dtype == "float32"


@pytest.mark.parametrize("step", [0, -1, 1.5, 2.0, "1", None])
def test_refuses_a_step_that_is_no_number_of_frames(step):
    with pytest.raises(ValueError, match=f"step .* at least 1, received {step!r}"):
        ResidualFrames(step)


def test_refuses_clips_that_are_too_short():
    layer, message = ResidualFrames(4), "expected more frames than the step size of 4, received an input"
    for clip in (np.zeros((1, 4, 8, 8, 3), "uint8"), keras.Input((4, 8, 8, 3), dtype="uint8")):
        with pytest.raises(ValueError, match=message):
            layer(clip)
    with pytest.raises(ValueError, match=message):
        layer.compute_output_shape((None, 4, 8, 8, 3))

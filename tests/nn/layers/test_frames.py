import numpy as np
import pytest
import tensorflow as tf

from kresp3d.nn.layers.frames import drop_frames


@pytest.mark.parametrize(("first", "last"), [(0, 0), (1, 0), (0, 1), (2, 1), (3, 1)])
def test_equals_a_slice_in_value_and_gradient(first, last):
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 2, 3, 1)).astype("float32"))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours, plain = drop_frames(x, first=first, last=last), x[:, first : 4 - last]
        squares = [tf.reduce_sum(value**2) for value in (ours, plain)]
    np.testing.assert_array_equal(ours, plain)
    np.testing.assert_array_equal(*(tape.gradient(square, x) for square in squares))

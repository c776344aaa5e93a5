import numpy as np
import pytest
import tensorflow as tf

from kresp3d.nn.layers.subsample import subsample


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_equals_a_strided_slice_in_value_and_gradient(stride):
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 5, 6, 4)).astype("float32"))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours, plain = subsample(x, stride), x[:, :, ::stride, ::stride]
        squares = [tf.reduce_sum(value**2) for value in (ours, plain)]
    np.testing.assert_array_equal(ours, plain)
    np.testing.assert_array_equal(*(tape.gradient(square, x) for square in squares))

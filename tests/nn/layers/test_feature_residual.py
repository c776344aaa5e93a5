import numpy as np
import pytest
import tensorflow as tf

from kresp3d.nn.layers import FeatureResidual


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_is_the_difference_to_the_next_frame_and_zero_in_the_last(reference, frames):
    f = np.random.default_rng(0).normal(size=(2, frames, 5, 6, 3)).astype("float32")
    found = np.asarray(FeatureResidual()(f))
    np.testing.assert_allclose(found, reference.feature_residual(f), rtol=1e-6)
    assert not found[:, -1].any()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float16"])
def test_does_not_wrap_around(dtype):
    f = np.array([10, 9, 100, 20]).astype(dtype).reshape(1, 4, 1, 1, 1)
    np.testing.assert_array_equal(np.ravel(FeatureResidual()(f)), [1, 91, 80, 0])


def test_gradient_is_that_of_the_absolute_difference():
    f = tf.Variable(np.array([1.0, 5.0, 5.0, 2.0], dtype="float32").reshape(1, 4, 1, 1, 1))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(FeatureResidual()(f))
    # d|b-a| + d|c-b| + d|d-c| for a < b = c > d; where two are equal, 0.
    np.testing.assert_array_equal(np.ravel(tape.gradient(total, f)), [-1, 1, 1, -1])


def test_common_checks(check_layer, tmp_path):
    check_layer(FeatureResidual, {}, (2, 4, 5, 6, 3), (2, 4, 5, 6, 3), 0, 0, tmp_path)

import numpy as np
import pytest
import tensorflow as tf

from kresp3d.layers import FeatureResidual


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_is_the_difference_to_the_next_frame_and_zero_in_the_last(stride):
    f = np.random.default_rng(0).normal(size=(2, 4, 5, 6, 3)).astype("float32")
    out = np.asarray(FeatureResidual(stride)(f))
    for t in range(3):
        np.testing.assert_allclose(out[:, t], abs(f[:, t + 1] - f[:, t])[:, ::stride, ::stride], rtol=1e-6)
    assert not out[:, 3].any()


def test_common_checks(check_layer, tmp_path):
    check_layer(lambda **kw: FeatureResidual(2, **kw), (2, 4, 5, 6, 3), (2, 4, 3, 3, 3), 0, tmp_path)


def test_refuses_a_stride_below_one():
    with pytest.raises(ValueError, match="spatial_stride must be at least 1, received 0"):
        FeatureResidual(0)


def test_gradient_is_that_of_the_absolute_difference():
    f = tf.Variable(np.array([1.0, 5.0, 5.0, 2.0], dtype="float32").reshape(1, 4, 1, 1, 1))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(FeatureResidual()(f))
    # d|b-a| + d|c-b| + d|d-c| for a < b = c > d; where two are equal, 0.
    np.testing.assert_array_equal(np.ravel(tape.gradient(total, f)), [-1, 1, 1, -1])

import keras
import numpy as np

from kresp3d.layers import SpatialMaxPool


def test_pools_every_frame_as_a_2d_pool_does():
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 8, 4)).astype("float32")
    out = np.asarray(SpatialMaxPool()(x))
    pool = keras.layers.MaxPooling2D(3, 2, padding="same")
    for t in range(3):
        np.testing.assert_array_equal(out[:, t], pool(x[:, t]))


def test_common_checks(check_layer, tmp_path):
    check_layer(lambda **kw: SpatialMaxPool(**kw), (2, 3, 7, 8, 4), (2, 3, 4, 4, 4), 0, tmp_path)

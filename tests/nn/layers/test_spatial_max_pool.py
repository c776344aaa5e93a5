import numpy as np

from kresp3d.nn.layers import SpatialMaxPool


def test_pools_every_frame(reference):
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 8, 4)).astype("float32")
    np.testing.assert_allclose(SpatialMaxPool()(x), reference.max_pool(x))


def test_common_checks(check_layer, tmp_path):
    check_layer(SpatialMaxPool, {}, (2, 3, 7, 8, 4), (2, 3, 4, 4, 4), 0, 0, tmp_path)

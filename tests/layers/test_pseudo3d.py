import numpy as np
import pytest

from kresp3d.layers import Pseudo3D

SHAPE = (2, 4, 6, 6, 5)


def clip():
    return np.random.default_rng(0).normal(size=SHAPE).astype("float32")


def test_concatenates_appearance_motion_and_feature_residual_then_attends():
    f, layer = clip(), Pseudo3D(3)
    out = layer(f)
    residual = np.abs(np.diff(f, axis=1, append=f[:, -1:]))
    parts = np.concatenate([layer.appearance(f), layer.motion(f), residual], axis=-1)
    mask = np.asarray(layer.attention.mask(parts))
    np.testing.assert_allclose(out, parts * mask + parts, rtol=1e-5, atol=1e-5)


def test_appearance_sees_one_frame_and_motion_one_pixel():
    layer = Pseudo3D(3, attention=False, feature_residual=False)
    f = clip()
    before = np.asarray(layer(f))
    other_time, other_pixel = f.copy(), f.copy()
    other_time[:, 3] += 1
    other_pixel[:, :, 5, 5] += 1
    # Channels 0-2 are appearance, 3-5 motion.
    np.testing.assert_array_equal(np.asarray(layer(other_time))[:, :3, ..., :3], before[:, :3, ..., :3])
    assert np.abs(np.asarray(layer(other_time))[:, 2, ..., 3:] - before[:, 2, ..., 3:]).max() > 0
    np.testing.assert_array_equal(np.asarray(layer(other_pixel))[:, :, 0, 0], before[:, :, 0, 0])
    np.testing.assert_array_equal(np.asarray(layer(other_pixel))[:, :, 4, 4, 3:], before[:, :, 4, 4, 3:])
    assert np.abs(np.asarray(layer(other_pixel))[:, :, 4, 4, :3] - before[:, :, 4, 4, :3]).max() > 0


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("flags", "channels", "weights"),
    [
        ({}, 11, 12),
        ({"attention": False}, 11, 10),
        ({"feature_residual": False}, 6, 12),
        ({"attention": False, "feature_residual": False}, 6, 10),
        ({"attention_pool": "space"}, 11, 12),
        ({"norm": "sync_batch"}, 11, 12),
    ],
)
def test_common_checks(check_layer, tmp_path, stride, flags, channels, weights):
    size = 6 // stride
    check_layer(lambda **kw: Pseudo3D(3, stride, **flags, **kw), SHAPE, (2, 4, size, size, channels), weights, tmp_path)

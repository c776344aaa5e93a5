import numpy as np
import pytest

from kresp3d.layers import ChannelAttention


@pytest.mark.parametrize(("pool", "axes"), [("space_time", (1, 2, 3)), ("space", (2, 3))])
def test_is_f_times_mask_plus_f(pool, axes):
    f = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype("float32")
    layer = ChannelAttention(pool)
    out = layer(f)
    weight, bias = (np.asarray(w) for w in layer.weights)
    mask = 1 / (1 + np.exp(-(f.mean(axes, keepdims=True) @ weight + bias)))
    np.testing.assert_allclose(out, f * mask + f, rtol=1e-5, atol=1e-5)
    assert layer.mask(f).shape == mask.shape == (2, 1 if pool == "space_time" else 3, 1, 1, 6)


@pytest.mark.parametrize("pool", ["space_time", "space"])
def test_common_checks(check_layer, tmp_path, pool):
    check_layer(lambda **kw: ChannelAttention(pool, **kw), (2, 3, 4, 5, 6), (2, 3, 4, 5, 6), 2, tmp_path)


def test_refuses_another_pool():
    with pytest.raises(ValueError, match="pool must be 'space_time' or 'space', received 'time'"):
        ChannelAttention("time")

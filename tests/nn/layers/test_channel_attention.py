import numpy as np
import pytest

from kresp3d.nn.layers import ChannelAttention


@pytest.mark.parametrize("pool", ["space_time", "space"])
def test_is_f_times_mask_plus_f(reference, pool):
    random = np.random.default_rng(0)
    f = random.normal(size=(2, 3, 4, 5, 6)).astype("float32")
    layer = ChannelAttention(pool)
    layer.build(f.shape)
    layer.set_weights([random.normal(size=(6, 6)), random.normal(size=6)])
    attention = reference.Attention(*(np.asarray(weight, np.float64) for weight in layer.get_weights()))
    np.testing.assert_allclose(layer(f), reference.attend(f, attention, pool), rtol=1e-5, atol=1e-5)
    mask = reference.attention_mask(f, attention, pool)
    np.testing.assert_allclose(layer.mask(f), mask, rtol=1e-5, atol=1e-6)
    assert layer.mask_shape(f.shape) == mask.shape


@pytest.mark.parametrize("pool", ["space_time", "space"])
def test_common_checks(check_layer, tmp_path, pool):
    check_layer(ChannelAttention, {"pool": pool}, (2, 3, 4, 5, 6), (2, 3, 4, 5, 6), 2, 0, tmp_path)


def test_refuses_another_pool_and_other_channels():
    with pytest.raises(ValueError, match="pool must be 'space_time' or 'space', received 'time'"):
        ChannelAttention("time")
    layer = ChannelAttention()
    layer.build((None, 3, 4, 5, 6))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 6"):
        layer(np.zeros((1, 3, 4, 5, 7), "float32"))


def test_gives_the_mask_before_the_first_call():
    f = np.random.default_rng(0).normal(size=(1, 3, 4, 5, 6))
    attention = ChannelAttention()
    mask = np.asarray(attention.mask(f))
    assert mask.shape == (1, 1, 1, 1, 6)
    np.testing.assert_allclose(attention(f), f * (mask + 1), rtol=1e-5)

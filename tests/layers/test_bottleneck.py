import numpy as np
import pytest
import tensorflow as tf

from kresp3d.layers import Bottleneck

SHAPE = (2, 4, 6, 6, 8)


def test_adds_an_identity_shortcut_where_the_shape_stays():
    x, layer = np.random.default_rng(0).normal(size=SHAPE).astype("float32"), Bottleneck(8)
    out = layer(x)
    inner = layer.project(layer.middle(layer.reduce(x)))
    assert layer.shortcut is None
    np.testing.assert_allclose(out, np.maximum(inner + x, 0), rtol=1e-5, atol=1e-5)


def test_adds_a_projected_shortcut_where_the_shape_changes():
    x, layer = np.random.default_rng(0).normal(size=SHAPE).astype("float32"), Bottleneck(4, spatial_stride=2)
    out = layer(x)
    inner = layer.project(layer.middle(layer.reduce(x)))
    np.testing.assert_allclose(out, np.maximum(inner + layer.shortcut(x), 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "shape", "weights"),
    [
        ({}, (2, 4, 6, 6, 8), 22),
        ({"spatial_stride": 2}, (2, 4, 3, 3, 8), 27),
        ({"expansion": 4}, (2, 4, 6, 6, 32), 27),
        ({"variant": "full3d"}, (2, 4, 6, 6, 8), 15),
        ({"variant": "full3d", "spatial_stride": 2}, (2, 4, 3, 3, 8), 20),
    ],
)
def test_common_checks(check_layer, tmp_path, options, shape, weights):
    check_layer(lambda **kw: Bottleneck(8, **options, **kw), SHAPE, shape, weights, tmp_path)


def test_full3d_reads_frames_and_pixels_together():
    layer = Bottleneck(8, variant="full3d")
    layer.build(SHAPE)
    assert layer.middle.conv.kernel.shape == (3, 3, 3, 8, 8)


def test_refuses_another_variant():
    with pytest.raises(ValueError, match="variant must be 'p3d' or 'full3d', received 'p2d'"):
        Bottleneck(8, variant="p2d")


@pytest.mark.parametrize("compiled", [False, True])
def test_checkpointing_changes_neither_outputs_nor_gradients_nor_moving_statistics(compiled):
    x = tf.constant(np.random.default_rng(0).normal(size=SHAPE).astype("float32"))
    plain = Bottleneck(4, spatial_stride=2)
    plain.build(SHAPE)
    checkpointed = Bottleneck.from_config(plain.get_config())
    checkpointed.build(SHAPE)
    checkpointed.set_weights(plain.get_weights())
    checkpointed.gradient_checkpointing = True
    calls = []
    block = checkpointed._block
    checkpointed._block = lambda *arguments, **options: calls.append(1) or block(*arguments, **options)

    def step(layer):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y**2)
        return [y, *tape.gradient(loss, [x, *[v.value for v in layer.trainable_variables]])]

    found = [(tf.function(step) if compiled else step)(layer) for layer in (plain, checkpointed)]
    assert len(calls) == 2
    for expected, actual in zip(*found, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    for expected, actual in zip(plain.get_weights(), checkpointed.get_weights(), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6)

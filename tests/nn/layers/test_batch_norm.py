import keras
import numpy as np
import pytest
import tensorflow as tf

from kresp3d.nn.layers import BatchNorm


def both(dtype="float32", shape=(None, 3, 4, 5, 6), relu=False, **options):
    """Ours, with a ReLU or without, and Keras' own, with the same weights that are none of the initial ones."""
    rng = np.random.default_rng(1)
    ours = BatchNorm(momentum=0.9, epsilon=1e-5, dtype=dtype, relu=relu, **options)
    layers = [ours, keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype, **options)]
    for layer in layers:
        layer.build(shape)
    weights = [rng.uniform(0.5, 2, w.shape) for w in layers[0].get_weights()]
    for layer in layers:
        layer.set_weights(weights)
    return layers


@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 6), (7, 6), (4, 5, 6)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
def test_equals_keras_in_outputs_and_moving_statistics(shape, training, options):
    x = np.random.default_rng(0).normal(3, 2, shape).astype("float32")
    ours, keras_own = both(shape=shape, **options)
    np.testing.assert_allclose(ours(x, training=training), keras_own(x, training=training), rtol=1e-4, atol=1e-5)
    for mine, other in zip(ours.get_weights(), keras_own.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float64", 1e-12), ("float16", 4e-3), ("bfloat16", 3e-2), ("mixed_float16", 4e-3), ("mixed_bfloat16", 3e-2)],
)
def test_equals_keras_in_every_precision(dtype, tolerance):
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 4, 5, 6))
    ours, keras_own = both(dtype=dtype)
    for training in (True, False):
        mine, other = ours(x, training=training), keras_own(x, training=training)
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(
            np.array(mine, "float64"), np.array(other, "float64"), atol=tolerance, rtol=tolerance
        )
    for mine, other in zip(ours.get_weights(), keras_own.get_weights(), strict=True):
        np.testing.assert_allclose(mine.astype("float64"), other.astype("float64"), rtol=tolerance)


def test_an_empty_batch_leaves_the_moving_statistics():
    ours, _ = both()
    before = ours.get_weights()
    ours(np.zeros((0, 3, 4, 5, 6), "float32"), training=True)
    for now, then in zip(ours.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_equal_those_of_keras(training):
    x = tf.constant(np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5, 6)).astype("float32"))
    weight = tf.constant(np.random.default_rng(2).normal(size=x.shape).astype("float32"))
    gradients = []
    for layer in both():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=training) * weight)
        gradients.append(tape.gradient(loss, [x, *[v.value for v in layer.trainable_variables]]))
    for mine, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4)


def test_equals_keras_in_bfloat16_within_its_precision():
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 4, 5, 6)).astype("float32")
    ours, keras_own = (np.asarray(tf.cast(layer(x, training=True), "float32")) for layer in both("mixed_bfloat16"))
    np.testing.assert_allclose(ours, keras_own, rtol=0.02, atol=0.05)


def test_a_frozen_layer_uses_its_moving_statistics():
    x = np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5, 6)).astype("float32")
    ours, _ = both()
    ours.trainable = False
    np.testing.assert_array_equal(ours(x, training=True), ours(x, training=False))


def test_synchronized_is_keras_own():
    x = np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5, 6)).astype("float32")
    ours, keras_own = both(synchronized=True)
    np.testing.assert_array_equal(ours(x, training=True), keras_own(x, training=True))


def test_a_graph_holds_the_fused_kernel():
    layer = BatchNorm()
    layer.build((None, 3, 4, 4, 6))
    graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(
        tf.TensorSpec((None, 3, 4, 4, 6), tf.float32)
    )
    assert "FusedBatchNormV3" in {op.type for op in graph.graph.get_operations()}


@pytest.mark.parametrize("relu", [False, True])
def test_common_checks(check_layer, tmp_path, relu):
    check_layer(BatchNorm, {"relu": relu}, (2, 3, 4, 5, 6), (2, 3, 4, 5, 6), 2, 2, tmp_path)


def test_moving_statistics_may_be_left_alone():
    x = np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5, 6)).astype("float32")
    layer, _ = both()
    before = layer.get_weights()
    found = layer(x, training=True, update_statistics=False)
    for now, then in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(found, layer(x, training=True))
    assert np.abs(layer.get_weights()[2] - before[2]).max() > 0


@pytest.mark.parametrize("training", [True, False])
def test_a_relu_gives_outputs_and_gradients_of_one_that_follows(training):
    x = tf.constant(np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5, 6)).astype("float32"))
    plain, _ = both()
    found = []
    for layer, after in ((both(relu=True)[0], lambda y: y), (plain, tf.nn.relu)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = after(layer(x, training=training))
            loss = tf.reduce_sum(y**2)
        found.append([y, *tape.gradient(loss, [x, *[v.value for v in layer.trainable_variables]])])
    assert 0.02 < np.mean(found[0][0] == 0) < 0.98
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


def test_a_relu_stands_right_behind_the_normalisation_where_tensorflow_makes_one_kernel_of_them():
    layer = BatchNorm(relu=True)
    layer.build((None, 3, 4, 5, 6))
    graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(tf.TensorSpec((2, 3, 4, 5, 6))).graph
    (norm,) = (operation for operation in graph.get_operations() if operation.type == "FusedBatchNormV3")
    assert [user.type for user in norm.outputs[0].consumers()] == ["Relu"]

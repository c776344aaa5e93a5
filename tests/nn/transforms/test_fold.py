import keras
import numpy as np
import pytest

from kresp3d.nn.layers import BatchNorm, FactorizedConv
from kresp3d.nn.transforms import fold, recompute_blocks


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"modality": "rgb", "stem_pool": True},
        {"modality": "residual", "step": 2, "expansion": 4},
        {"attention": False, "feature_residual": False},
        {"attention_pool": "space", "norm": "sync_batch"},
        {"variant": "full3d"},
    ],
    ids=str,
)
def test_computes_what_the_network_does_without_batch_norms(trained, clips, settings):
    network = trained(**settings)
    folded = fold(network)
    inputs = {"frames": clips(network)}
    np.testing.assert_allclose(folded(inputs), network(inputs, training=False), rtol=1e-4, atol=1e-5)
    assert not [layer for layer in folded.layers if isinstance(layer, BatchNorm)]
    assert [layer.name for layer in folded.layers if isinstance(layer, keras.layers.Dropout)] == ["dropout"]
    before = {layer.name for layer in network.layers if not isinstance(layer, BatchNorm)}
    assert {layer.name for layer in folded.layers} == before


def test_shares_nothing_with_the_network_and_keeps_its_precision(trained):
    network = trained(dtype="mixed_bfloat16")
    before = network.get_weights()
    folded = fold(network)
    assert folded.get_layer("res2_1_motion").compute_dtype == "bfloat16"
    for weight in folded.weights:
        weight.assign(np.zeros(weight.shape))
    for now, then in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_is_the_same_after_saving(trained, clips, tmp_path):
    network = trained()
    folded = fold(network)
    folded.save(tmp_path / "folded.keras")
    inputs = {"frames": clips(network)}
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "folded.keras")(inputs), folded(inputs))


def conv(**options):
    return FactorizedConv(5, (1, 3), name="c", **options)


def conv_3d(**options):
    return keras.layers.Conv3D(5, 3, padding="same", data_format="channels_last", name="c", **options)


def used_twice(x):
    y = conv()(x)
    return keras.layers.Concatenate()([y, BatchNorm(name="n")(y)])


def an_output_itself(x):
    y = conv()(x)
    return [y, BatchNorm(name="n")(y)]


def called_twice(x):
    layer = conv()
    return BatchNorm(name="n")(layer(x)) + BatchNorm(name="m")(layer(x * 2))


def one_norm_for_two(x):
    norm = BatchNorm(name="n")
    return norm(conv()(x)) + norm(FactorizedConv(5, (3, 1), name="d")(x))


class Doubling(FactorizedConv):
    def call(self, inputs):
        return 2 * super().call(inputs)


#: Graph -> how many batch norms stay.
GRAPHS = {
    "used twice": (used_twice, 1),
    "an output itself": (an_output_itself, 1),
    "called twice": (called_twice, 2),
    "one norm for two": (one_norm_for_two, 1),
    "with an activation": (lambda x: BatchNorm(name="n")(conv(activation="relu")(x)), 1),
    "3D with an activation": (lambda x: BatchNorm(name="n")(conv_3d(activation="tanh")(x)), 1),
    "after ReLU": (lambda x: BatchNorm(name="n")(keras.layers.ReLU()(conv()(x))), 1),
    "after no convolution": (lambda x: BatchNorm(name="n")(x), 1),
    "over frames": (lambda x: BatchNorm(axis=1, name="n")(conv()(x)), 1),
    "always of the batch": (lambda x: BatchNorm(name="n")(conv()(x), training=True), 1),
    "of a class of one's own": (lambda x: BatchNorm(name="n")(Doubling(5, (1, 3), name="c")(x)), 1),
    "with a bias": (lambda x: BatchNorm(name="n", relu=True)(conv(use_bias=True)(x)), 0),
    "3D with a bias": (lambda x: BatchNorm(name="n")(conv_3d()(x)), 0),
    "without a scale": (lambda x: BatchNorm(scale=False, axis=4, name="n")(conv()(x)), 0),
    "without a centre": (lambda x: BatchNorm(center=False, name="n")(conv()(x)), 0),
    "without both": (lambda x: BatchNorm(center=False, scale=False, name="n")(conv(use_bias=True)(x)), 0),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_any_graph_computes_the_same_and_what_cannot_be_folded_stays(name):
    make, staying = GRAPHS[name]
    keras.utils.set_random_seed(0)
    x = keras.Input((4, 6, 6, 3))
    network = keras.Model(x, make(x))
    random = np.random.default_rng(2)
    for weight in network.weights:
        weight.assign(random.uniform(0.3, 1.5, weight.shape))
    folded = fold(network)
    clips = random.normal(0, 2, (2, 4, 6, 6, 3)).astype("float32")
    for found, expected in zip(keras.tree.flatten(folded(clips)), keras.tree.flatten(network(clips)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert len([layer for layer in folded.layers if isinstance(layer, BatchNorm)]) == staying
    assert not set(map(id, folded.weights)) & set(map(id, network.weights))


def test_bias_scale_and_shift_are_those_of_the_formula():
    x = keras.Input((1, 1, 1, 2))
    network = keras.Model(x, BatchNorm(epsilon=0.5, name="n")(FactorizedConv(2, (1, 1), use_bias=True, name="c")(x)))
    kernel, bias = np.array([[1.0, 2.0], [3.0, -4.0]]), np.array([0.5, -1.0])
    gamma, beta, mean, variance = np.array([[2.0, 3.0], [0.25, -0.5], [1.0, 2.0], [0.5, 3.5]])
    network.get_layer("c").set_weights([kernel[None, None], bias])
    network.get_layer("n").set_weights([gamma, beta, mean, variance])
    clip = np.array([[5.0, -7.0]])
    expected = gamma * (clip @ kernel + bias - mean) / np.sqrt(variance + 0.5) + beta
    np.testing.assert_allclose(fold(network)(clip[:, None, None, None])[:, 0, 0, 0], expected, rtol=1e-6)


def test_calls_outside_of_the_network_do_not_count(trained, clips):
    network = trained(blocks=(1,))
    # Calls the layers of the network again, for a graph of its own.
    recompute_blocks(network)
    folded = fold(network)
    assert not [layer for layer in folded.layers if isinstance(layer, BatchNorm)]
    inputs = {"frames": clips(network)}
    np.testing.assert_allclose(folded(inputs), network(inputs, training=False), rtol=1e-4, atol=1e-5)

from __future__ import annotations

import keras
import numpy as np
import pytest

from kresp3d.nn import P3DResNet
from kresp3d.nn.profile import profile
from kresp3d.nn.transforms import fold, slim

clips = np.random.default_rng(1).integers(0, 256, (4, 5, 16, 16, 3), np.uint8)

VARIANTS = [
    {},
    {"blocks": (1,)},
    {"modality": "rgb", "attention": False},
    {"modality": "residual", "feature_residual": False, "attention_pool": "space"},
    {"variant": "full3d"},
    {"blocks": (2, 3), "expansion": 4, "stem_pool": True},
    {"blocks": (2, 1), "expansion": 2},
    {"modality": "rgb", "expansion": 2},
]


def network(**values):
    keras.utils.set_random_seed(0)
    settings = {"frames": 4, "size": 16, "width": 8, "blocks": (1, 1), "fc1": 16, **values}
    model = P3DResNet(classes=3, **settings)
    random = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


def scores(model):
    return np.asarray(model({"frames": clips}, training=False))


@pytest.mark.parametrize("values", VARIANTS, ids=str)
def test_with_all_channels_it_is_the_same_network(values):
    trained = network(**values)
    np.testing.assert_array_equal(scores(slim(trained, 1.0, [clips])), scores(trained))


@pytest.mark.parametrize("values", VARIANTS, ids=str)
def test_channels_that_are_always_zero_are_taken_out_and_nothing_changes(values):
    trained = network(**values)
    for layer in trained._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, *moving = layer.get_weights()
            # In every layer the same, so that what is added to a channel that goes goes too.
            gamma[1::2] = beta[1::2] = 0
            layer.set_weights([gamma, beta, *moving])
    fc2 = trained.get_layer("fc2")
    kernel, bias = fc2.get_weights()
    kernel[1::2] = 0
    fc2.set_weights([kernel, bias])
    slimmed = slim(trained, 0.5, [clips])
    np.testing.assert_allclose(scores(slimmed), scores(trained), rtol=1e-4, atol=1e-4)
    assert 2 * slimmed.count_params() < trained.count_params() and 2 * profile(slimmed).macs < profile(trained).macs


def test_numbers_of_channels_are_multiples_of_four():
    slimmed = slim(network(width=16, fc1=32), 0.6, [clips])
    convolutions = [layer for layer in slimmed.layers if hasattr(layer, "filters")]
    assert len(convolutions) > 10 and {layer.filters % 4 for layer in convolutions} == {0}
    assert slimmed.get_layer("res2_1_motion").filters == 8 and slimmed.get_layer("fc1").units == 20


def test_what_is_added_keeps_the_same_channels():
    slimmed = slim(network(width=16, blocks=(3, 2)), 0.5, [clips])
    for stage, filters in (("res2", 8), ("res3", 16)):
        ends = [
            layer.filters
            for layer in slimmed.layers
            if layer.name.startswith(stage) and layer.name.endswith(("_restore", "_shortcut"))
        ]
        assert ends == [filters] * len(ends) and ends


def test_of_two_channels_of_one_scale_that_stays_which_the_attention_lets_through():
    trained = network(modality="rgb")
    for name in ("res2_1_appearance_norm", "res2_1_motion_norm"):
        gamma, *rest = trained.get_layer(name).get_weights()
        trained.get_layer(name).set_weights([np.ones_like(gamma), *rest])
    attention = trained.get_layer("res2_1_attention")
    kernel, bias = attention.get_weights()
    open_channels = [0, 2, 5, 7]
    bias = np.full_like(bias, -20)
    bias[open_channels] = 20
    # Of the motion features, one is let through itself and three by their feature residuals alone.
    bias[[8 + 1, 16 + 3, 16 + 4, 16 + 6]] = 20
    attention.set_weights([np.zeros_like(kernel), bias])
    slimmed = slim(trained, 0.5, [clips])
    for name, stay in (("res2_1_appearance", open_channels), ("res2_1_motion", [1, 3, 4, 6])):
        before, after = (model.get_layer(name).kernel.numpy() for model in (trained, slimmed))
        before, after = (kernel.reshape(-1, *kernel.shape[2:]) for kernel in (before, after))
        middle = len(before) // 2
        inputs = [int(np.abs(before[middle, :, stay[0]] - value).argmin()) for value in after[middle, :, 0]]
        np.testing.assert_array_equal(after, before[:, inputs][..., stay])


def test_it_is_saved_restored_and_folded(tmp_path):
    slimmed = slim(network(), 0.5, [clips])
    slimmed.save(tmp_path / "slim.keras")
    np.testing.assert_array_equal(scores(keras.models.load_model(tmp_path / "slim.keras")), scores(slimmed))
    assert fold(slimmed).output.shape == (None, 3)


def test_a_network_that_was_trained_in_mixed_precision_and_saved_loses_its_channels(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network().save(tmp_path / "model.keras")
    finally:
        keras.config.set_dtype_policy(before)
    # Loading traces casts beside the graph.
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert any(len(layer._outbound_nodes) > 1 for layer in loaded.layers if isinstance(layer, keras.layers.Dropout))
    slimmed = slim(loaded, 0.5, [clips])
    assert slimmed.count_params() < 0.6 * loaded.count_params()
    assert np.isfinite(scores(slimmed).astype("float32")).all()


@pytest.mark.parametrize("fraction", [0, -1, 2, 1.0001, float("nan"), "0.5", None, True])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match=r"slim: fraction must be a number above 0 and at most 1, received "):
        slim(network(blocks=(1,)), fraction, [clips])


def test_a_network_without_batch_norms_is_refused():
    with pytest.raises(ValueError, match=r"slim: expected a batch norm after each convolution, .*before it is folded"):
        slim(fold(network(blocks=(1,))), 0.5, [clips])

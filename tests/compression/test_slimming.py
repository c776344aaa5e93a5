from __future__ import annotations

import keras
import numpy as np
import pytest

from kresp3d.analysis.profile import profile
from kresp3d.compression.kernels import kernels
from kresp3d.compression.slimming import slim_network
from kresp3d.config import ModelConfig
from kresp3d.layers import Bottleneck
from kresp3d.models.inference_network import int8_network
from kresp3d.models.p3d_resnet import build_model

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
    model = build_model(ModelConfig(**{"frames": 4, "size": 16, "width": 8, "blocks": (1, 1), "fc1": 16, **values}), 3)
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
    np.testing.assert_array_equal(scores(slim_network(trained, 1.0, [clips])), scores(trained))


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
    slim = slim_network(trained, 0.5, [clips])
    np.testing.assert_allclose(scores(slim), scores(trained), rtol=1e-4, atol=1e-4)
    assert 2 * slim.count_params() < trained.count_params() and 2 * profile(slim).macs < profile(trained).macs


def test_numbers_of_channels_are_multiples_of_four():
    slim = slim_network(network(width=16, fc1=32), 0.6, [clips])
    assert {kernel.variable.shape[-1] % 4 for kernel in kernels(slim) if kernel.name != "fc2"} == {0}
    [first, *_] = [layer for layer in slim.layers if isinstance(layer, Bottleneck)]
    assert first.filters == 8 and slim.get_layer("fc1").units == 20


def test_of_two_channels_of_one_scale_that_stays_which_the_attention_lets_through():
    trained = network(modality="rgb")
    [block, *_] = [layer for layer in trained.layers if isinstance(layer, Bottleneck)]
    for conv in (block.middle.appearance, block.middle.motion):
        gamma, *rest = conv.norm.get_weights()
        conv.norm.set_weights([np.ones_like(gamma), *rest])
    gate = block.middle.attention.gate
    kernel, bias = gate.get_weights()
    open_channels = [0, 2, 5, 7]
    bias = np.full_like(bias, -20)
    bias[open_channels] = 20
    gate.set_weights([np.zeros_like(kernel), bias])
    slim = slim_network(trained, 0.5, [clips])
    before, after = (block.middle.appearance.conv.kernel.numpy() for block in (block, slim.get_layer(block.name)))
    inputs = [int(np.abs(before[1, 1, :, 0] - value).argmin()) for value in after[1, 1, :, 0]]
    np.testing.assert_array_equal(after, before[..., inputs, :][..., open_channels])


def test_a_shortcut_keeps_its_convolution_where_as_many_channels_come_in_as_go_out():
    trained = network(modality="rgb", width=4, expansion=4)
    assert trained.get_layer("res2_1").shortcut is not None
    for share in (0.25, 0.3, 0.5, 0.6, 0.75, 0.9):
        slim = slim_network(trained, share, [clips])
        assert slim.get_layer("res2_1").shortcut is not None and scores(slim).shape == (4, 3)


def test_it_is_saved_restored_and_made_ready_for_int8(tmp_path):
    slim = slim_network(network(), 0.5, [clips])
    slim.save(tmp_path / "slim.keras")
    np.testing.assert_array_equal(scores(keras.models.load_model(tmp_path / "slim.keras")), scores(slim))
    assert int8_network(slim).output.shape == (None, 3)

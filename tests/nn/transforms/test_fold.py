import keras
import numpy as np
import pytest

from kresp3d.nn.layers import BatchNorm
from kresp3d.nn.transforms import fold


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

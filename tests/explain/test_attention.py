import keras
import numpy as np
import pytest

from kresp3d.explain.attention import AttentionGates, Weight, stage_weights
from kresp3d.nn import P3DResNet

SMALL = {"frames": 4, "size": 16, "step": 1, "width": 4, "blocks": (1, 2), "fc1": 8}


def network(**settings):
    keras.utils.set_random_seed(0)
    model = P3DResNet(classes=3, **{**SMALL, **settings})
    random = np.random.default_rng(0)
    for weight in model.weights:
        if "moving" in weight.path or "gamma" in weight.path:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        if "attention" in weight.path:
            weight.assign(random.normal(size=weight.shape))
    return model


def clips(count=2):
    return np.random.default_rng(1).integers(0, 256, (count, 5, 16, 16, 3), np.uint8)


def masks_by_hand(reference, keras_weights, model, block, frames, settings):
    """The masks of a block by the reference, from the weights alone, after what Keras says enters the block."""
    x = keras.Model(model.input, model.get_layer(f"{block}_reduce").input)({"frames": frames}, training=False)
    stride = 2 if block == "res3_1" else 1
    weights = keras_weights.bottleneck(reference, model, block, stride)
    f = reference.conv_norm(np.asarray(x, np.float64), weights.reduce)
    parts = {
        "appearance": reference.conv_norm(f, weights.middle.appearance, stride),
        "motion": reference.conv_norm(f, weights.middle.motion, stride),
    }
    if settings.get("feature_residual", True):
        parts["feature_residual"] = reference.feature_residual(parts["motion"])
    f_cat = np.concatenate(list(parts.values()), axis=-1)
    mask = reference.attention_mask(f_cat, weights.middle.attention, settings.get("attention_pool", "space_time"))
    channels = np.split(mask[:, :, 0, 0], np.cumsum([part.shape[-1] for part in parts.values()])[:-1], axis=-1)
    return dict(zip(parts, channels, strict=True))


@pytest.mark.parametrize(
    "settings",
    [{}, {"attention_pool": "space"}, {"feature_residual": False}, {"modality": "residual"}, {"expansion": 4}],
)
def test_masks_are_those_of_a_computation_by_hand(reference, keras_weights, settings):
    model, frames = network(**settings), clips()
    found = AttentionGates(model)(frames)
    assert list(found) == ["res2_1", "res3_1", "res3_2"]
    for block, parts in found.items():
        expected = masks_by_hand(reference, keras_weights, model, block, frames, settings)
        assert list(parts) == list(expected)
        for part, mask in parts.items():
            assert mask.dtype == np.float32
            np.testing.assert_allclose(mask, expected[part], atol=1e-4, err_msg=f"{block} {part}")
            assert np.ptp(mask) > 0.1


def test_one_mask_serves_all_frames_or_each_has_its_own():
    assert AttentionGates(network())(clips())["res2_1"]["motion"].shape == (2, 1, 4)
    assert AttentionGates(network(attention_pool="space"))(clips())["res2_1"]["motion"].shape == (2, 4, 4)


@pytest.mark.parametrize("settings", [{"variant": "full3d"}, {"attention": False}])
def test_without_attention_there_are_no_blocks(settings):
    gates = AttentionGates(network(**settings))
    assert gates.blocks == () and gates(clips()) == {} and stage_weights({}) == {}


def test_mixed_precision_networks_are_read_in_float32():
    mixed, plain = network(dtype="mixed_bfloat16"), network()
    for source, target in zip(plain.weights, mixed.weights, strict=True):
        target.assign(source)
    expected = AttentionGates(plain)(clips())
    for block, parts in AttentionGates(mixed)(clips()).items():
        for part, mask in parts.items():
            np.testing.assert_allclose(mask, expected[block][part], atol=1e-6)


def test_other_clips_and_numbers_of_clips_trace_nothing_anew():
    gates = AttentionGates(network())
    for count in (1, 3, 2):
        gates(clips(count))
    assert gates._masks.experimental_get_tracing_count() == 1


def test_wrong_frames_are_named():
    with pytest.raises(ValueError, match=r"expected frames uint8 \[B, 5, 16, 16, 3\], received float32"):
        AttentionGates(network())(clips().astype(np.float32))


def test_a_stages_weight_is_taken_over_all_channels_of_its_blocks():
    one = np.array([[[0.2, 0.4]]], np.float32)
    two = np.array([[[0.6, 0.8, 1.0, 0.0]]], np.float32)
    weights = stage_weights({"res3_1": {"motion": one}, "res3_2": {"motion": two}, "res10_1": {"appearance": one}})
    assert list(weights) == ["res3", "res10"]
    values = np.array([0.2, 0.4, 0.6, 0.8, 1.0, 0.0])
    assert weights["res3"]["motion"].mean == pytest.approx(values.mean())
    assert weights["res3"]["motion"].spread == pytest.approx(np.sqrt(((values - values.mean()) ** 2).mean()))
    assert weights["res10"] == {"appearance": Weight(pytest.approx(0.3), pytest.approx(0.1))}

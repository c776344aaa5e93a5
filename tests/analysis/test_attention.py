import keras
import numpy as np
import pytest

from kresp3d.analysis.attention import AttentionGates, Weight, stage_weights
from kresp3d.config import ModelConfig
from kresp3d.models.p3d_resnet import build_model

SMALL = {"frames": 4, "size": 16, "step": 1, "width": 4, "blocks": (1, 2), "fc1": 8}


def network(**settings):
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig(**{**SMALL, **settings}), 3)
    random = np.random.default_rng(0)
    for weight in model.weights:
        if "moving" in weight.path or "gamma" in weight.path:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        if "gate" in weight.path:
            weight.assign(random.normal(size=weight.shape))
    return model


def clips(count=2):
    return np.random.default_rng(1).integers(0, 256, (count, 5, 16, 16, 3), np.uint8)


def convolved(x, kernel, stride):
    """A 2D convolution of `[..., H, W, C]` with zeros around, as TensorFlow's "same" lays them."""
    *_, height, width, _ = x.shape
    size_h, size_w = kernel.shape[:2]
    rows, columns = -(-height // stride), -(-width // stride)
    pad_h = max((rows - 1) * stride + size_h - height, 0)
    pad_w = max((columns - 1) * stride + size_w - width, 0)
    around = ((0, 0),) * (x.ndim - 3)
    x = np.pad(x, (*around, (pad_h // 2, pad_h - pad_h // 2), (pad_w // 2, pad_w - pad_w // 2), (0, 0)))
    out = np.zeros((*x.shape[:-3], rows, columns, kernel.shape[-1]))
    for i in range(size_h):
        for j in range(size_w):
            window = x[..., i : i + rows * stride : stride, j : j + columns * stride : stride, :][
                ..., :rows, :columns, :
            ]
            out += window @ kernel[i, j]
    return out


def normalised(x, layer):
    gamma, beta, mean, variance = (np.asarray(w, np.float64) for w in layer.norm.get_weights())
    return np.maximum((x - mean) / np.sqrt(variance + layer.norm.epsilon) * gamma + beta, 0)


def masks_by_hand(model, block, frames, per_frame=False):
    """The masks of a block in NumPy, from the weights alone, after what Keras says enters the block."""
    layer = model.get_layer(block)
    x = keras.Model(model.input, layer.input)({"frames": frames}, training=False).numpy().astype(np.float64)
    stride = layer.spatial_stride
    x = normalised(x @ np.asarray(layer.reduce.conv.kernel, np.float64)[0, 0], layer.reduce)
    module = layer.middle
    appearance = normalised(convolved(x, np.asarray(module.appearance.conv.kernel), stride), module.appearance)
    thin = x[:, :, ::stride, ::stride]
    batch, time, height, width, channels = thin.shape
    moving = convolved(thin.reshape(batch, time, height * width, channels), np.asarray(module.motion.conv.kernel), 1)
    motion = normalised(moving.reshape(batch, time, height, width, -1), module.motion)
    parts = {"appearance": appearance, "motion": motion}
    if module.feature_residual is not None:
        parts["feature_residual"] = np.abs(np.diff(thin, axis=1, append=thin[:, -1:]))
    pooled = np.concatenate(list(parts.values()), -1).mean(axis=(2, 3) if per_frame else (1, 2, 3), keepdims=True)
    kernel, bias = module.attention.gate.get_weights()
    mask = (1 / (1 + np.exp(-(pooled @ kernel + bias))))[:, :, 0, 0]
    found, start = {}, 0
    for name, part in parts.items():
        found[name] = mask[..., start : start + part.shape[-1]]
        start += part.shape[-1]
    return found


@pytest.mark.parametrize(
    "settings",
    [{}, {"attention_pool": "space"}, {"feature_residual": False}, {"modality": "residual"}, {"expansion": 4}],
)
def test_masks_are_those_of_a_computation_by_hand(settings):
    model, frames = network(**settings), clips()
    found = AttentionGates(model)(frames)
    assert list(found) == ["res2_1", "res3_1", "res3_2"]
    for block, parts in found.items():
        expected = masks_by_hand(model, block, frames, settings.get("attention_pool") == "space")
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
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = network()
    finally:
        keras.config.set_dtype_policy("float32")
    plain = network()
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

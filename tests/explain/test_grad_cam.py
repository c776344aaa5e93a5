import keras
import numpy as np
import pytest
import tensorflow as tf

from kresp3d.explain.grad_cam import GradCam, default_layer
from kresp3d.nn import P3DResNet

SMALL = {"frames": 4, "size": 32, "step": 1, "width": 4, "blocks": (1, 1, 1), "fc1": 8}


def network(seed=0, **settings):
    """A small network whose batch norms have seen something, so that folding them matters."""
    keras.utils.set_random_seed(seed)
    model = P3DResNet(classes=3, **{**SMALL, **settings})
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if "moving" in weight.path or "gamma" in weight.path:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def clips(count=2, frames=5, size=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, frames, size, size, 3), np.uint8)


def enlarged(picture, size):
    """Bilinear enlargement with the centres of the corner pixels half a pixel from the border."""
    places = np.clip((np.arange(size) + 0.5) * len(picture) / size - 0.5, 0, len(picture) - 1)
    low = np.floor(places).astype(int)
    high, share = np.minimum(low + 1, len(picture) - 1), places - low
    rows = picture[low] * (1 - share)[:, None] + picture[high] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, high] * share


def by_hand(model, frames, label, layer):
    """The two equations of the paper in NumPy, with the gradients of the trained network itself."""
    block, logits = model.get_layer(layer), model.get_layer("fc2").output
    both = keras.Model(model.input, [block.output, logits])
    with tf.GradientTape() as tape:
        features, scores = both({"frames": frames}, training=False)
        score = scores[0, label]
    gradient = tape.gradient(score, features).numpy()[0].astype(np.float64)
    features = features.numpy()[0].astype(np.float64)
    total = np.zeros(features.shape[:3])
    for channel in range(features.shape[-1]):
        total += gradient[..., channel].mean() * features[..., channel]
    maps = np.stack([enlarged(picture, frames.shape[2]) for picture in np.maximum(total, 0)])
    return maps / maps.max() if maps.max() > 0 else maps


@pytest.mark.parametrize("layer", ["res2_1", "res3_1", "res4_1"])
@pytest.mark.parametrize("settings", [{}, {"modality": "rgb", "attention": False}, {"variant": "full3d"}])
def test_is_the_papers_formula_of_the_trained_network(layer, settings):
    model, frames = network(**settings), clips()
    cam = GradCam(model, layer)
    maps = cam(frames, np.array([2, 0]))
    assert maps.shape == (2, 4, 32, 32) and maps.dtype == np.float32
    for clip, label, found in zip(frames, (2, 0), maps, strict=True):
        np.testing.assert_allclose(found, by_hand(model, clip[None], label, layer), atol=2e-4)


def test_without_classes_it_explains_the_predicted_ones():
    model, frames = network(seed=1), clips(6)
    predicted = np.argmax(model({"frames": frames}, training=False), axis=-1)
    cam = GradCam(model)
    np.testing.assert_array_equal(cam(frames), cam(frames, predicted))
    assert np.abs(cam(frames) - cam(frames, (predicted + 1) % 3)).max() > 0.01


def test_each_clips_strongest_place_is_1_and_clips_do_not_mix():
    cam, frames = GradCam(network()), clips(5)
    maps = cam(frames, np.arange(5) % 3)
    assert maps.min() >= 0
    assert {float(highest) for highest in maps.max(axis=(1, 2, 3))} <= {0.0, 1.0}
    np.testing.assert_allclose(cam(frames[3:4], np.array([0])), maps[3:4], atol=1e-5)


def test_mixed_precision_networks_are_explained_in_float32():
    model = network()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = network()
    finally:
        keras.config.set_dtype_policy("float32")
    for source, target in zip(model.weights, mixed.weights, strict=True):
        target.assign(source)
    np.testing.assert_allclose(GradCam(mixed)(clips()), GradCam(model)(clips()), atol=1e-5)


def test_nothing_is_traced_again_for_another_number_of_clips():
    cam = GradCam(network())
    for count in (1, 3, 2):
        cam(clips(count))
        cam(clips(count), np.zeros(count, np.int64))
    assert cam._maps.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ((56, 28, 14, 7), "res5_1"),
        ((28, 14, 7, 4), "res4_1"),
        ((16, 8, 4, 2), "res3_1"),
        ((8, 8, 4), "res3_1"),
        ((4, 2, 1), "res2_1"),
        ((5, 5, 3), "res3_1"),
    ],
)
def test_by_default_the_last_block_with_seven_cells_a_side_or_the_finest_there_is(sides, expected):
    assert default_layer({f"res{i}_1": (side, side) for i, side in enumerate(sides, 2)}) == expected


def test_the_default_of_the_small_network_is_its_last_block_of_8_cells():
    cam = GradCam(network())
    assert (cam.layer, cam.cells) == ("res3_1", (8, 8))


def test_wrong_arguments_are_named():
    model = network()
    with pytest.raises(ValueError, match=r"layer must be one of res2_1, res3_1, res4_1, received 'mean'"):
        GradCam(model, "mean")
    cam = GradCam(model)
    for frames in (clips(0), clips(2, frames=4), clips(1).astype(np.float32), clips(1)[0]):
        with pytest.raises(ValueError, match=r"expected frames uint8 \[B, 5, 32, 32, 3\]"):
            cam(frames)
    for classes in ([0], [0, 3], [-1, 0], [[0, 1]]):
        with pytest.raises(ValueError, match="expected 2 classes from 0 to 2"):
            cam(clips(2), np.array(classes))

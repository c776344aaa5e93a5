import copy
import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest

from kresp3d.nn import P3DResNet
from kresp3d.nn.layers import BatchNorm

SMALL = {"frames": 4, "size": 32, "width": 4, "blocks": (1, 2), "fc1": 8, "dropout": 0.0}


def small(classes=3, **options):
    return P3DResNet(classes=classes, **{**SMALL, **options})


def frames(model, batch=2, seed=0):
    shape = (batch, *model.input["frames"].shape[1:])
    return {"frames": np.random.default_rng(seed).integers(0, 256, shape).astype("uint8")}


VARIANTS = [
    {},
    {"attention": False},
    {"feature_residual": False},
    {"attention": False, "feature_residual": False},
    {"attention_pool": "space"},
    {"modality": "rgb"},
    {"modality": "residual", "step": 2},
    {"variant": "full3d"},
    {"variant": "full3d", "modality": "residual"},
    {"stem_pool": True, "expansion": 4},
    {"size": 29, "step": 3, "frames": 5, "blocks": (2, 1, 1)},
    {"frames": 1, "stem_pool": True, "size": 35},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_is_the_network_that_the_paper_describes(reference, keras_weights, options):
    keras.utils.set_random_seed(1)
    model = keras_weights.randomise(small(**options))
    clips = frames(model, batch=3)
    expected = reference.network(clips["frames"], keras_weights.network(reference, model, **{**SMALL, **options}))
    np.testing.assert_allclose(model(clips, training=False), expected, rtol=1e-5, atol=1e-5)


#: Table 1 of the paper at 32 frames of 112×112: stage -> output of one clip.
TABLE_1 = {
    "rgb_stem_motion": (32, 56, 56, 64),
    "residual_stem_motion": (32, 56, 56, 64),
    "streams": (32, 56, 56, 128),
    "res2_3": (32, 56, 56, 64),
    "res3_4": (32, 28, 28, 128),
    "res4_6": (32, 14, 14, 256),
    "res5_3": (32, 7, 7, 512),
    "pool": (512,),
    "fc1": (2048,),
    "fc2": (101,),
}


@pytest.mark.parametrize("variant", ["p3d", "full3d"])
def test_stages_have_the_shapes_of_table_1(variant):
    model = P3DResNet(classes=101, variant=variant)
    assert model.input["frames"].shape == (None, 33, 112, 112, 3)
    table = {
        name.replace("stem_motion", "stem_conv") if variant == "full3d" else name: TABLE_1[name] for name in TABLE_1
    }
    assert {name: model.get_layer(name).output.shape[1:] for name in table} == table
    starts = [layer.name for layer in model.layers if layer.name.endswith("_reduce")]
    assert [sum(name.startswith(f"res{stage}") for name in starts) for stage in (2, 3, 4, 5)] == [3, 4, 6, 3]


@pytest.mark.parametrize("modality", ["rgb", "residual"])
def test_one_modality_has_one_stem_with_twice_the_channels(modality):
    model = small(modality=modality)
    stems = {layer.name.split("_stem")[0] for layer in model.layers if "_stem_" in layer.name}
    assert stems == {modality}
    name = f"{modality}_stem_motion"
    assert model.get_layer(name).output.shape[-1] == 2 * small().get_layer(name).output.shape[-1]


def test_rgb_uses_the_first_frames_and_residual_all():
    rgb, residual = small(modality="rgb", step=2), small(modality="residual", step=2)
    clip = frames(rgb)
    other = {"frames": clip["frames"].copy()}
    other["frames"][:, -2:] = 0
    np.testing.assert_array_equal(rgb(clip), rgb(other))
    assert np.abs(np.asarray(residual(clip)) - np.asarray(residual(other))).max() > 0


def test_residual_stream_does_not_see_a_still_picture():
    model = small(modality="residual")
    still = [np.repeat(frames(model, seed=seed)["frames"][:, :1], 5, axis=1) for seed in (0, 1)]
    np.testing.assert_allclose(*(model({"frames": clip}) for clip in still), atol=1e-6)


def test_stem_pool_halves_the_picture_once_more():
    assert small(stem_pool=True).get_layer("res2_1").output.shape[2] == 8
    assert small().get_layer("res2_1").output.shape[2] == 16


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"variant": "full3d"},
        {"modality": "rgb", "attention": False},
        {"modality": "residual", "feature_residual": False, "step": 3},
        {"attention_pool": "space", "expansion": 4, "stem_pool": True, "norm": "sync_batch"},
    ],
    ids=str,
)
def test_is_the_same_after_saving_and_takes_any_batch(keras_weights, tmp_path, dtype, options):
    model = keras_weights.randomise(small(**options, dtype=dtype, name="mine"))
    assert keras.config.dtype_policy().name == "float32"
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert (type(restored), restored.name) == (P3DResNet, "mine")
    assert [layer.dtype_policy.name for layer in restored.layers] == [layer.dtype_policy.name for layer in model.layers]
    for batch in (1, 3):
        logits = model(frames(model, batch))
        assert logits.shape == (batch, 3)
        assert logits.dtype == "float32"
        np.testing.assert_array_equal(logits, restored(frames(model, batch)))


@pytest.mark.parametrize("options", [{}, {"variant": "full3d"}, {"attention_pool": "space"}])
def test_learns_to_tell_two_clips_apart(options):
    keras.utils.set_random_seed(0)
    model = small(classes=2, **options)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    clips, labels = frames(model), np.array([0, 1])
    losses = model.fit(clips, labels, epochs=25, verbose=0).history["loss"]
    assert losses[-1] < 0.1 < losses[0]


def test_sync_batch_reaches_every_norm():
    norms = [layer for layer in small(norm="sync_batch").layers if isinstance(layer, BatchNorm)]
    assert len(norms) > 10
    assert all(norm.synchronized for norm in norms)


def test_presets_are_the_networks_that_their_names_say():
    paper = P3DResNet.from_preset("paper", classes=101).get_config()
    assert {**paper, "name": ""} == {**P3DResNet(classes=101).get_config(), "name": ""}
    assert (paper["frames"], paper["size"], paper["blocks"], paper["stem_pool"]) == (32, 112, (3, 4, 6, 3), False)
    assert P3DResNet.from_preset("small", classes=4, frames=8).get_config()["frames"] == 8
    assert {name: values for name, values in P3DResNet.presets.items() if "modality" in values} == {
        "paper-rgb": {"modality": "rgb"},
        "paper-residual": {"modality": "residual"},
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 1}, "classes must be .* at least 2, received 1"),
        ({"classes": "3"}, "classes must be .* received '3'"),
        ({"attention": "no"}, "attention must be one of True, False, received 'no'"),
        ({"stem_pool": 1}, "stem_pool must be one of True, False, received 1"),
        ({"modality": "depth"}, "modality must be one of rgb, residual, both, received 'depth'"),
        ({"attention_pool": "time"}, "attention_pool must be one of"),
        ({"blocks": ()}, "blocks must be whole numbers"),
        ({"blocks": 2}, "blocks must be whole numbers"),
        ({"blocks": (1, 0)}, "each of blocks must be .* at least 1, received 0"),
        ({"size": 8}, "size must be .* at least 16, received 8"),
        ({"size": (32, 32)}, r"size must be .* received \(32, 32\)"),
        ({"step": 0}, "step must be .* at least 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"dropout": "a"}, "dropout must be at least 0 and below 1"),
    ],
)
def test_says_what_is_wrong_with_an_argument(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_takes_numbers_of_numpy():
    network = small(classes=np.int64(3), blocks=np.array([1, 1]), frames=np.int32(4))
    config = network.get_config()
    assert (config["classes"], config["blocks"], config["frames"]) == (3, (1, 1), 4)
    assert all(type(count) is int for count in config["blocks"])


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float64"])
def test_has_the_dtype_policy_that_it_was_given(dtype):
    network = small(dtype=dtype)
    assert network.dtype_policy.name == dtype
    assert P3DResNet.from_config(network.get_config()).dtype_policy.name == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_trains_in_every_precision(dtype):
    network = small(dtype=dtype)
    frames = np.random.default_rng(0).integers(0, 256, (2, *network.input_shape[1:]), "uint8")
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit({"frames": frames}, np.array([0, 1]), verbose=0)
    assert all(np.isfinite(w.astype("float32")).all() for w in network.get_weights())


@pytest.mark.parametrize("scaled", [True, False])
def test_refuses_frames_that_may_have_been_scaled(scaled):
    network = small()
    frames = np.full((2, *network.input_shape[1:]), 0.5 if scaled else 100.0, "float32")
    for call in (network.predict, network):
        with pytest.raises(ValueError, match="expected frames as uint8 from 0 to 255, received float32"):
            call({"frames": frames})


@pytest.mark.parametrize("frozen", ["none", "some", "all"])
@pytest.mark.parametrize("way", ["save", "deepcopy", "pickle"])
def test_frozen_layers_stay_frozen(frozen, way, tmp_path):
    network = small()
    if frozen == "all":
        network.trainable = False
    elif frozen == "some":
        for layer in network.layers[:-1]:
            layer.trainable = False
    expected = {"none": len(network.trainable_weights), "some": 2, "all": 0}[frozen]
    if way == "save":
        network.save(tmp_path / "network.keras")
        again = keras.saving.load_model(tmp_path / "network.keras")
    else:
        again = copy.deepcopy(network) if way == "deepcopy" else pickle.loads(pickle.dumps(network))
    assert len(again.trainable_weights) == expected == len(network.trainable_weights)
    assert again.trainable == (frozen != "all")


def test_refuses_an_unknown_preset():
    with pytest.raises(ValueError, match=r"preset must be one of paper, .*, received 'large'"):
        P3DResNet.from_preset("large", classes=3)


@pytest.mark.parametrize("found", [None, 1, 3])
def test_refuses_settings_of_another_format(found):
    config = {**small().get_config(), "format": found}
    with pytest.raises(ValueError, match=f"expected a network of format 2, received format {found}; train it again"):
        P3DResNet.from_config(config)


#: Builds, compiles, fits, saves, loads and exports on the backend that KERAS_BACKEND names.
PROGRAM = """
import sys
for name in ("pydantic", "yaml", "av", "tensorflow_io", "matplotlib", "kresp3d.config"):
    sys.modules[name] = None
import keras, numpy as np
from kresp3d.nn import P3DResNet
folder, backend = sys.argv[1:]
assert keras.backend.backend() == backend
model = keras.models.load_model(f"{folder}/model.keras")
frames = np.load(f"{folder}/frames.npy")
np.save(f"{folder}/logits.npy", keras.ops.convert_to_numpy(model({"frames": frames}, training=False)))
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
losses = model.fit({"frames": frames}, np.array([0, 1]), epochs=15, verbose=0).history["loss"]
assert losses[-1] < losses[0], losses
model.save(f"{folder}/trained.keras")
again = keras.models.load_model(f"{folder}/trained.keras")
np.testing.assert_allclose(
    keras.ops.convert_to_numpy(again({"frames": frames}, training=False)),
    keras.ops.convert_to_numpy(model({"frames": frames}, training=False)), atol=1e-5)
if backend == "tensorflow":
    model.export(f"{folder}/exported", verbose=False)
if backend == "jax":
    mine = [module for name, module in sys.modules.items() if module and name.startswith("kresp3d")]
    assert not any(hasattr(module, name) for module in mine for name in ("tf", "tensorflow"))
"""


@pytest.mark.once
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_trains_and_predicts_alike_on_every_backend_and_needs_keras_alone(keras_weights, tmp_path, backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    model = keras_weights.randomise(small())
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "frames.npy", frames(model)["frames"])
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), backend]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), model(frames(model), training=False), atol=1e-4)

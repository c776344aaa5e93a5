import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from kresp3d.config import ModelConfig
from kresp3d.layers import BatchNorm
from kresp3d.models.p3d_resnet import build_model

SMALL = {"frames": 4, "size": 32, "width": 4, "blocks": (1, 2), "fc1": 8, "dropout": 0.0}


def small(classes=3, **options):
    return build_model(ModelConfig(**{**SMALL, **options}), classes)


def frames(model, batch=2, seed=0):
    shape = (batch, *model.input["frames"].shape[1:])
    return {"frames": np.random.default_rng(seed).integers(0, 256, shape).astype("uint8")}


#: Table 1 of the paper at 32 frames of 112×112: stage -> output of one clip.
TABLE_1 = {
    "rgb_stem": (32, 56, 56, 64),
    "residual_stem": (32, 56, 56, 64),
    "streams": (32, 56, 56, 128),
    "res2_3": (32, 56, 56, 64),
    "res3_4": (32, 28, 28, 128),
    "res4_6": (32, 14, 14, 256),
    "res5_3": (32, 7, 7, 512),
    "fc1": (2048,),
    "fc2": (101,),
}


@pytest.mark.parametrize("variant", ["p3d", "full3d"])
def test_stages_have_the_shapes_of_table_1(variant):
    model = build_model(ModelConfig(variant=variant), 101)
    assert model.input["frames"].shape == (None, 33, 112, 112, 3)
    assert {name: model.get_layer(name).output.shape[1:] for name in TABLE_1} == TABLE_1
    blocks = [
        layer.name for layer in model.layers if "_" in layer.name and layer.name[:4] in ("res2", "res3", "res4", "res5")
    ]
    assert [sum(name.startswith(f"res{stage}") for name in blocks) for stage in (2, 3, 4, 5)] == [3, 4, 6, 3]


@pytest.mark.parametrize("modality", ["rgb", "residual"])
def test_one_modality_has_one_stem_with_twice_the_channels(modality):
    model = small(modality=modality)
    stems = [layer for layer in model.layers if layer.name.endswith("stem")]
    assert [stem.name for stem in stems] == [f"{modality}_stem"]
    assert stems[0].output.shape[-1] == 2 * small().get_layer("rgb_stem").output.shape[-1]


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


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"variant": "full3d"},
        {"modality": "rgb", "attention": False},
        {"modality": "residual", "feature_residual": False, "step": 3},
        {"attention_pool": "space", "expansion": 4, "stem_pool": True, "norm": "sync_batch"},
    ],
)
def test_is_the_same_after_saving_and_takes_any_batch(tmp_path, policy, options):
    keras.config.set_dtype_policy(policy)
    try:
        model = small(**options)
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
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
    norms = [layer for layer in small(norm="sync_batch")._flatten_layers() if isinstance(layer, BatchNorm)]
    assert len(norms) > 10
    assert all(norm.synchronized for norm in norms)


def test_refuses_a_single_class():
    with pytest.raises(ValueError, match="at least 2 classes, received 1"):
        small(classes=1)


@pytest.mark.once
def test_runs_on_the_jax_backend_with_the_same_outputs_and_without_tensorflow(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed; pip install kresp3d[dev]")
    model = small()
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "frames.npy", frames(model)["frames"])
    program = (
        "import sys, keras, numpy as np\n"
        "import kresp3d.models.p3d_resnet\n"
        "from kresp3d.config import ModelConfig\n"
        f"built = kresp3d.models.p3d_resnet.build_model(ModelConfig(**{SMALL!r}), 3)\n"
        f"model = keras.models.load_model({str(tmp_path / 'model.keras')!r})\n"
        f"frames = np.load({str(tmp_path / 'frames.npy')!r})\n"
        f"np.save({str(tmp_path / 'logits.npy')!r}, np.asarray(model({{'frames': frames}})))\n"
        "assert keras.backend.backend() == 'jax'\n"
        "assert built.count_params() == model.count_params()\n"
        "mine = [name for name in sys.modules if name.startswith('kresp3d')]\n"
        "assert not any('tensorflow' in vars(sys.modules[name]) or 'tf' in vars(sys.modules[name]) for name in mine)\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), model(frames(model)), atol=1e-4)

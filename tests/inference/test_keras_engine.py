"""What computes class scores from clips."""

from __future__ import annotations

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest
import yaml

from kresp3d.inference.keras_engine import KerasEngine, load_network_file
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError


def test_scores_are_the_softmax_of_the_network_for_batches_of_any_size(trained_run):
    engine = KerasEngine(RunFolder.open(trained_run))
    clips = np.random.default_rng(0).integers(0, 256, (5, 5, 16, 16, 3), np.uint8)
    logits = np.asarray(keras.models.load_model(trained_run / "model.keras")({"frames": clips}))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = [engine.probabilities(clips[start : start + 2]) for start in (0, 2, 4)]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4, atol=1e-6)
    assert engine._forward.experimental_get_tracing_count() == 1


def change_config(file, change):
    """Rewrite the configuration inside a `.keras` file."""
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["config.json"] = json.dumps(change(json.loads(content["config.json"]))).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def test_a_network_whose_blocks_were_layers_is_refused_for_its_wiring(trained_run, tmp_path):
    file = shutil.copy(trained_run / "model.keras", tmp_path / "model.keras")
    block = {"module": "kresp3d.layers.bottleneck", "class_name": "Bottleneck", "registered_name": "kresp3d>Bottleneck"}
    change_config(file, lambda config: {"class_name": "Functional", "config": {"layers": [{**block, "config": {}}]}})
    with pytest.raises(KrespError, match=r"model\.keras holds a network of format 1, .* train it again"):
        load_network_file(file)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, r"holds a network of format 1, .* as the paper does; train it again$"),
        (1, r"holds a network of format 1, .* as the paper does; train it again$"),
        (3, r"of another version of kresp3d \(format 3, expected 2\); load it with that version, or train it again$"),
    ],
)
def test_a_network_of_another_format_is_refused(trained_run, tmp_path, found, words):
    file = shutil.copy(trained_run / "model.keras", tmp_path / "model.keras")

    def change(config):
        assert config["class_name"] == "P3DResNet" and config["config"].pop("format") == 2
        if found is not None:
            config["config"]["format"] = found
        return config

    change_config(file, change)
    with pytest.raises(KrespError, match=words):
        load_network_file(file)


@pytest.fixture
def copied(trained_run, tmp_path):
    return shutil.copytree(trained_run, tmp_path / "run")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "has 0 lines, 0 of them different, but model.keras has 3 classes"),
        (["bend", "jump"], "has 2 lines"),
        (["bend", "jump", "walk", "run"], "has 4 lines"),
        (["bend", "jump", "jump"], "has 3 lines, 2 of them different"),
    ],
    ids=len,
)
def test_classes_of_another_network_are_refused(copied, lines, words):
    (copied / "classes.txt").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(KrespError, match=rf"{copied}/classes\.txt {words}.*; put the file back, or train again$"):
        KerasEngine(RunFolder.open(copied))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            ("model", "size"),
            32,
            r"says clips \[5, 32, 32, 3\] with step 1, but .* takes clips \[5, 16, 16, 3\] with step 1",
        ),
        (("model", "frames"), 8, r"says clips \[9, 16, 16, 3\]"),
        (("model", "step"), 3, r"says clips \[7, 16, 16, 3\]"),
        # Clips of as many frames, 3 + 2, too.
        (("model",), {"frames": 3, "step": 2}, r"says clips \[5, 16, 16, 3\] with step 2, but .* with step 1"),
    ],
    ids=["size", "frames", "step", "both"],
)
def test_a_configuration_of_another_network_is_refused(copied, key, value, words):
    config = yaml.safe_load((copied / "config.yaml").read_text())
    if len(key) == 2:
        config[key[0]][key[1]] = value
    else:
        config[key[0]] |= value
    (copied / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(KrespError, match=rf"config\.yaml {words}.*; a trained run keeps its"):
        KerasEngine(RunFolder.open(copied))


def test_another_network_in_the_place_of_a_run_s_is_refused(copied):
    x = keras.Input((4,))
    keras.Model(x, keras.layers.Dense(3)(x)).save(copied / "model.keras")
    with pytest.raises(KrespError, match=r"model\.keras is no network that `kresp3d train` saved"):
        KerasEngine(RunFolder.open(copied))

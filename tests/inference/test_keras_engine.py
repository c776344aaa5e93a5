"""What computes class scores from clips."""

from __future__ import annotations

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest

from kresp3d.errors import KrespError
from kresp3d.inference.keras_engine import KerasEngine, load_network_file
from kresp3d.run_folder import RunFolder


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


@pytest.mark.parametrize("found", [1, 3])
def test_a_network_of_another_format_is_refused(trained_run, tmp_path, found):
    file = shutil.copy(trained_run / "model.keras", tmp_path / "model.keras")

    def change(config):
        assert config["class_name"] == "P3DResNet" and config["config"]["format"] == 2
        config["config"]["format"] = found
        return config

    change_config(file, change)
    with pytest.raises(KrespError, match=f"expected a network of format 2, received format {found}"):
        load_network_file(file)

"""Two replicas with batch norms over all of them compute what one does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

import kresp3d.nn  # noqa: F401


@pytest.fixture(scope="module")
def runs(tiny_config, tmp_path_factory):
    """The folder of the runs, and what was written of them."""
    folder = tmp_path_factory.mktemp("replicas")
    values = {
        **tiny_config,
        "model": {**tiny_config["model"], "modality": "rgb", "attention": False, "dropout": 0.0, "norm": "sync_batch"},
        "training": {**tiny_config["training"], "learning_rate": 0.02, "ema": 0.8},
        # The last of the batches of three validation clips is too small for two replicas.
        "evaluation": {"batch_size": 2},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values))
    script = Path(__file__).with_name("replicas.py")
    done = subprocess.run(
        [sys.executable, script, folder / "tiny.yaml", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 replicas") == 2
    return folder, json.loads((folder / "found.json").read_text())


def test_two_replicas_give_the_losses_and_weights_of_one(runs):
    folder, found = runs
    one, two = found["0.3-1"], found["0.3-2"]
    for mine, yours in zip(one["history"], two["history"], strict=True):
        assert yours == pytest.approx(mine, rel=2e-4, abs=1e-5)
    networks = [keras.models.load_model(folder / name / "model.keras") for name in ("0.3-1", "0.3-2")]
    for mine, yours in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_allclose(yours, mine, rtol=1e-3, atol=2e-5)


def test_the_scores_of_the_validation_videos_are_gathered_from_all_replicas(runs):
    _, found = runs
    for values in found.values():
        confusion = np.array(values["confusion"])
        # One validation video of each class, and one clip of each video.
        assert confusion.sum(axis=1).tolist() == [1, 1, 1]
        assert confusion.trace() / 3 == pytest.approx(values["history"][-1]["val_top1"])


def test_clipping_was_active(runs):
    _, found = runs
    assert found["null-1"]["history"][-1]["loss"] != pytest.approx(found["0.3-1"]["history"][-1]["loss"], rel=1e-3)


def test_weights_of_the_replicas_stay_in_sync(runs):
    _, found = runs
    for name, values in found.items():
        assert values["in sync"] and values["copies"] == ([2] if "-2" in name else [1])

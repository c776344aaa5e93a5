"""An interrupted training goes on to the very same weights."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

import kresp3d.nn  # noqa: F401
from kresp3d.config.schema import load_config


@pytest.fixture(scope="module")
def config_file(tiny_config, tmp_path_factory):
    values = {
        **tiny_config,
        "training": {
            **tiny_config["training"],
            **{"epochs": 3, "deterministic": True, "ema": 0.8, "momentum": 0.9, "weight_decay": 1e-3},
            # Nothing is left to be planned, which the script does not do.
            "keep": "last",
            # Explained in the middle and at the end, which is to change nothing.
            "tensorboard_every": 2,
        },
        "clip": {"per_video": 8, "frame_stride": 1},
    }
    path = tmp_path_factory.mktemp("resume") / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def runs(config_file):
    """The folder of the runs `whole` and `parts`, and what was printed."""
    script = Path(__file__).with_name("resumed.py")
    done = subprocess.run(
        [sys.executable, script, config_file, config_file.parent], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return config_file.parent, done.stdout


def variables(run):
    """All tensors of a run's checkpoint but the progress, which holds times."""
    last = max((run / "checkpoints").glob("epoch-*.index"), key=lambda path: int(path.stem.removeprefix("epoch-")))
    reader = tf.train.load_checkpoint(str(last.with_suffix("")))
    names = sorted(name for name in reader.get_variable_to_shape_map() if not name.startswith("progress"))
    return {name: reader.get_tensor(name) for name in names if not name.startswith("_CHECKPOINTABLE")}


def assert_same(one, other, epochs=3):
    mine, yours = variables(one), variables(other)
    assert list(mine) == list(yours)
    # Weights, momenta, moving averages of weights and of batch norms, the step and the state of dropout.
    assert len(mine) > 40
    for name in mine:
        np.testing.assert_array_equal(mine[name], yours[name], err_msg=name)
    networks = [keras.models.load_model(run / "model.keras").get_weights() for run in (one, other)]
    for mine, yours in zip(*networks, strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert (one / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
    assert len((one / "history.csv").read_text().splitlines()) == 1 + epochs


def assert_logged_alike(one, other, read_events, epochs=3):
    """TensorBoard shows the same of both, each point once; but for the speed and the time of the evaluation."""
    mine, yours = (read_events(run / "logs") for run in (one, other))
    tags = {tag for tag in mine if not tag.endswith("test") and "_test/" not in tag}
    assert len(tags) > 10 and tags == {tag for tag in yours if not tag.endswith("test") and "_test/" not in tag}
    for tag in tags:
        assert [step for step, _ in yours[tag]] == [step for step, _ in mine[tag]], tag
        if tag != "clips_per_second":
            assert str(yours[tag]) == str(mine[tag]), tag
    assert [step for step, _ in mine["loss/train"]] == list(range(1, epochs + 1))


def test_a_phase_that_was_interrupted_ends_at_the_same_weights(runs, read_events):
    folder, printed = runs
    assert_same(folder / "further", folder / "further-parts", epochs=6)
    assert_logged_alike(folder / "further", folder / "further-parts", read_events, epochs=6)
    # When it begins, and when it begins anew since no epoch of it was finished.
    assert printed.count("Phase 2 begins with epoch 4: ") == 3
    for name in ("further", "further-parts"):
        [phase] = json.loads((folder / name / "phases.json").read_text())
        assert phase["first_epoch"] == 4 and phase["first_step"] == 3 * 30
        assert phase["changed"]["training.learning_rate"] == [0.05, 0.02] and len(phase["changed"]) == 4
        config = load_config(folder / name / "config.yaml")
        assert config.training.batch_size == 5 and config.clip.augment.flip is False
    rows = list(csv.DictReader((folder / "further" / "history.csv").open()))
    assert [row["phase"] for row in rows] == ["1"] * 3 + ["2"] * 3
    assert "training.batch_size 4 → 5, training.learning_rate 0.05 → 0.02" in printed

    # The rate of each epoch's last step: half an epoch of warm-up, then a cosine over what is left of the phase.
    def rate(step, steps, peak):
        top = steps // 2 - 1
        return peak * 0.5 * (1 + math.cos(math.pi * (step - top) / (3 * steps - top)))

    rates = [float(row["learning_rate"]) for row in rows]
    expected = [rate(30 * n - 1, 30, 0.05) for n in (1, 2, 3)] + [rate(24 * n - 1, 24, 0.02) for n in (1, 2, 3)]
    assert rates == pytest.approx(expected, rel=1e-4)
    # It goes on from the weights that were there.
    assert float(rows[3]["loss"]) < float(rows[0]["loss"])


def test_ctrl_c_and_until_lose_at_most_an_epoch_and_resume_ends_at_the_same_weights(runs, read_events):
    folder, printed = runs
    assert "rows when interrupted: 1" in printed and "Interrupted after epoch 1" in printed
    assert "resuming after epoch 1" in printed
    # The second time it was told to stop after the second epoch.
    assert "stopped after epoch 2" in printed and "resuming after epoch 2" in printed
    assert_same(folder / "whole", folder / "parts")
    assert_logged_alike(folder / "whole", folder / "parts", read_events)


def test_kill_9_loses_at_most_an_epoch_and_resume_ends_at_the_same_weights(runs, config_file, tmp_path, read_events):
    folder, _ = runs
    run = tmp_path / "killed"
    command = [sys.executable, "-m", "kresp3d.cli.main", "train", "--config", config_file, "--out", run]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (run / "history.csv").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -9
    rows = (run / "history.csv").read_text().splitlines()
    assert 1 + 1 <= len(rows) < 1 + 3
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"resuming after epoch {len(rows) - 1}" in again.stdout
    assert_same(folder / "whole", run)
    assert_logged_alike(folder / "whole", run, read_events)
    assert (run / "metrics.json").is_file()

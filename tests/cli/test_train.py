"""`kresp3d train` from end to end, on encoded videos."""

from __future__ import annotations

import csv
import fcntl
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import yaml

from kresp3d.cli.main import main
from kresp3d.config import load_config


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of the trained run."""
    return shutil.copytree(trained_run, tmp_path / "run")


@pytest.fixture
def config_file(tiny_config, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_config))
    return path


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def fails(arguments, code, capsys):
    """The one line that a failing command says."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ")
    return line


def test_a_run_folder_holds_all_that_a_run_leaves(trained_run):
    names = {path.name for path in trained_run.iterdir()} - {".lock"}
    assert names == {
        *("config.yaml", "environment.json", "catalog.csv", "classes.txt", "checkpoints", "logs", "history.csv"),
        *("training.json", "model.keras", "metrics.json", "report.md", "predictions.csv", "per_class.csv", "figures"),
    }
    training = json.loads((trained_run / "training.json").read_text())
    assert training["epochs"] == 6 and 1 <= training["kept_epoch"] <= 6 and training["seconds"] > 0
    assert (trained_run / "classes.txt").read_text().split() == ["bend", "jump", "walk"]
    assert load_config(trained_run / "config.yaml").training.epochs == 6
    assert {p.name for p in (trained_run / "figures").iterdir()} == {"confusion.png", "per_class.png", "history.png"}


def test_the_network_learns_what_is_easy(trained_run):
    with (trained_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) - 0.3
    assert json.loads((trained_run / "metrics.json").read_text())["video_top1"] > 0.6


def test_tensorboard_gets_scalars_clips_and_the_confusion_matrix(trained_run):
    scalars, images = {}, {}
    for path in (trained_run / "logs").iterdir():
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                array = tf.make_ndarray(value.tensor)
                if value.metadata.plugin_data.plugin_name == "scalars":
                    scalars.setdefault(value.tag, {})[event.step] = float(array)
                else:
                    images[value.tag] = (event.step, tf.io.decode_png(array[2]).shape)
    with (trained_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    for tag, column in (("loss/train", "loss"), ("top1/validation", "val_top1"), ("learning_rate", "learning_rate")):
        assert scalars[tag] == {int(row["epoch"]): pytest.approx(float(row[column])) for row in rows}
    clips = [tag for tag in images if tag.startswith("clips/")]
    # Four frames of 16 x 16 over their residual frames, two pixels between.
    assert len(clips) == 4 and all(images[tag] == (0, (34, 70, 3)) for tag in clips)
    step, shape = images["confusion/test"]
    assert step == 6 and min(shape[:2]) > 100


def test_a_folder_with_a_run_is_left_alone(run, config_file, capsys):
    before = contents(run)
    line = fails(["train", "--config", config_file, "--out", run], 1, capsys)
    assert "--resume" in line and "--overwrite" in line and str(run) in line
    assert contents(run) == before


def test_overwrite_begins_anew(run, config_file, capsys):
    (run / ".part-1-model.keras").write_bytes(b"left by a killed process")
    (run / "evaluation-train").mkdir()
    assert main(["train", "--config", str(config_file), "--out", str(run), "--overwrite"]) == 0
    assert len((run / "history.csv").read_text().splitlines()) == 1 + 2
    assert not (run / ".part-1-model.keras").exists() and not (run / "evaluation-train").exists()


def test_resume_of_a_finished_run_only_measures(run, capsys):
    before = contents(run)
    (run / "metrics.json").unlink()
    assert main(["train", "--resume", "--out", str(run)]) == 0
    out = capsys.readouterr().out
    assert "resuming after epoch 6" in out and "test split" in out and "top-1  val loss" not in out
    after = contents(run)
    for name in ("history.csv", "metrics.json", "catalog.csv"):
        [path] = [p for p in before if str(p) == name]
        assert after[path] == before[path]


def test_resume_refuses_another_configuration(run, config_file, capsys):
    line = fails(["train", "--resume", "--out", run, "--set", "training.learning_rate=0.5"], 2, capsys)
    assert "training.learning_rate=0.1" in line and "0.5" in line and "other keys" not in line
    line = fails(["train", "--resume", "--out", run, "--config", config_file], 2, capsys)
    assert "clip.per_video=8" in line and "received 1" in line


def test_only_one_process_trains_in_a_folder(run, config_file, capsys):
    before = contents(run)
    with (run / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for arguments in (["--resume"], ["--overwrite", "--config", config_file]):
            assert "another process" in fails(["train", "--out", run, *arguments], 1, capsys)
    assert contents(run) == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--out", "RUN"], 2, "--config"),
        (["--resume", "--out", "NOTHING"], 2, "no run to resume"),
        (["--resume", "--overwrite", "--config", "CONFIG"], 2, "exclude each other"),
        (["--config", "CONFIG", "--out", "CONFIG"], 1, "is a file"),
        (["--config", "CONFIG", "--out", "FOREIGN", "--overwrite"], 1, "notes.txt"),
        (["--config", "CONFIG", "--out", "NEW", "--set", "training.replicas=3"], 2, "multiple of 3"),
        (["--config", "CONFIG", "--out", "NEW", "--set", "data.videos=/nowhere"], 2, "/nowhere"),
    ],
)
def test_mistakes_get_a_sentence(arguments, code, words, config_file, tmp_path, capsys):
    foreign = tmp_path / "FOREIGN"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    paths = {"CONFIG": config_file, "FOREIGN": foreign, "NEW": tmp_path / "NEW", "NOTHING": tmp_path / "NOTHING"}
    capsys.readouterr()
    assert main(["train", *(str(paths.get(a, a)) for a in arguments)]) == code
    err = capsys.readouterr().err
    assert words in err.splitlines()[-1] and "Traceback" not in err
    assert [p.name for p in foreign.iterdir()] == ["notes.txt"]


def test_a_start_that_failed_does_not_block_the_next(config_file, tmp_path, capsys):
    arguments = ["train", "--config", str(config_file), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--set", "training.replicas=3"]) == 2
    assert main([*arguments, "--set", "training.epochs=1"]) == 0
    assert np.loadtxt(tmp_path / "run" / "history.csv", delimiter=",", skiprows=1, ndmin=2).shape[0] == 1

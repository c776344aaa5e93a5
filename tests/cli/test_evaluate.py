"""`kresp3d evaluate`."""

from __future__ import annotations

import csv
import io
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kresp3d.cli.main import main
from kresp3d.run_folder import RunFolder


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of the trained run."""
    return shutil.copytree(trained_run, tmp_path / "run")


def sentence(arguments, capsys, code=1):
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == code
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("Error: ")
    return line


def clips_by_hand(folder, split, clips):
    """Clips and class numbers of a split's videos, cut with TFRecord, Pillow and NumPy alone."""
    run = RunFolder.open(folder)
    with (folder / "catalog.csv").open() as file:
        rows = {row["name"]: row["label"] for row in csv.DictReader(file) if row["split"] == split}
    found = {}
    for shard in sorted(run.records_folder.glob("*.tfrecord")):
        for raw in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
            features = tf.train.Example.FromString(raw).features.feature
            name = features["name"].bytes_list.value[0].decode()
            if name not in rows:
                continue
            pictures = [Image.open(io.BytesIO(jpeg)) for jpeg in features["frames"].bytes_list.value]
            width, height = pictures[0].size
            left, top = (width - 32) // 2, (height - 32) // 2
            # Half the size: the mean of two by two pixels.
            small = np.stack([np.asarray(p.crop((left, top, left + 32, top + 32)), float) for p in pictures])
            small = small.reshape(len(small), 16, 2, 16, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8)
            starts = np.linspace(0, len(small) - 5, clips).round().astype(int)
            found[name] = np.stack([small[start : start + 5] for start in starts])
    classes = (folder / "classes.txt").read_text().split()
    return np.stack([found[name] for name in rows]), np.array([classes.index(label) for label in rows.values()])


@pytest.mark.parametrize(("split", "clips"), [("test", 2), ("train", 3)])
def test_figures_equal_an_independent_computation(run, tmp_path, split, clips):
    figures = tmp_path / "figures.json"
    arguments = ["evaluate", str(run), "--split", split, "--clips", str(clips), "--json", str(figures)]
    assert main(arguments) == 0
    found = json.loads(figures.read_text())

    frames, labels = clips_by_hand(run, split, clips)
    logits = keras.models.load_model(run / "model.keras").predict(
        {"frames": frames.reshape(-1, *frames.shape[2:])}, verbose=0
    )
    powers = np.exp(logits.astype(np.float64))
    scores = (powers / powers.sum(axis=1, keepdims=True)).reshape(len(labels), clips, -1)
    expected = {
        "split": split,
        "classes": 3,
        "videos": len(labels),
        "clips": len(labels) * clips,
        "clip_top1": (scores.argmax(axis=2) == labels[:, None]).mean(),
        "clip_top5": 1.0,
        "video_top1": (scores.mean(axis=1).argmax(axis=1) == labels).mean(),
        "video_top5": 1.0,
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    folder = run if split == "test" else run / "evaluation-train-3-clips"
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    # Pillow's and TensorFlow's decoders of JPEG differ by a grey level here and there.
    assert [float(row["score"]) for row in rows] == pytest.approx(scores.mean(axis=1).max(axis=1), abs=0.01)
    assert json.loads((folder / "metrics.json").read_text()) == found


def test_figures_of_another_split_stand_apart(run):
    names = ("metrics.json", "report.md", "predictions.csv", "per_class.csv", "figures/confusion.png")
    before = [(run / name).read_bytes() for name in names]
    assert main(["evaluate", str(run), "--split", "validation"]) == 0
    assert [(run / name).read_bytes() for name in names] == before
    assert json.loads((run / "evaluation-validation" / "metrics.json").read_text())["videos"] == 3


def test_the_run_keeps_its_split_when_the_table_of_records_changes(run, tmp_path):
    environment = json.loads((run / "environment.json").read_text())
    records = shutil.copytree(environment["records"], tmp_path / "records")
    table = records / "videos.csv"
    table.write_text(table.read_text().replace(",test,", ",train,"))
    (run / "environment.json").write_text(json.dumps(environment | {"records": str(records)}))
    before = (run / "metrics.json").read_text()
    assert main(["evaluate", str(run)]) == 0
    assert (run / "metrics.json").read_text() == before


def test_what_is_missing_or_damaged_gets_a_sentence(run, tmp_path, capsys):
    assert "neither a run folder" in sentence(["evaluate", tmp_path], capsys)
    whole = (run / "model.keras").read_bytes()
    for content in (b"", b"no network", whole[: len(whole) // 2], whole[:2000] + bytes(500) + whole[2500:]):
        (run / "model.keras").write_bytes(content)
        line = sentence(["evaluate", run], capsys)
        assert "model.keras cannot be loaded" in line and "kresp3d train" in line
    (run / "model.keras").unlink()
    assert "no trained network yet" in sentence(["evaluate", run], capsys)


def test_missing_records_get_a_sentence(run, tmp_path, capsys):
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps(environment | {"records": str(tmp_path / "gone")}))
    assert "no finished records" in sentence(["evaluate", run], capsys)
    catalog = run / "catalog.csv"
    catalog.write_text(catalog.read_text().replace("g0", "h0"))
    (run / "environment.json").write_text(json.dumps(environment))
    assert "6 of 6 test videos" in sentence(["evaluate", run], capsys)
    catalog.write_text(catalog.read_text().replace(",test", ",train"))
    assert "no test videos" in sentence(["evaluate", run], capsys)
    catalog.unlink()
    assert "catalog.csv" in sentence(["evaluate", run], capsys)


def test_an_exported_network_is_known_for_the_runs_own_after_the_run_was_moved(run, tmp_path, capsys):
    exported = tmp_path / "exported"
    assert main(["export", str(run), "--format", "saved_model", "--to", str(exported)]) == 0
    moved = run.rename(tmp_path / "moved")
    assert "is gone; name a run" in sentence(["evaluate", exported / "1"], capsys, code=2)
    assert main(["evaluate", str(exported / "1"), "--run", str(moved), "--split", "train"]) == 0
    assert "the network was trained on these videos" in capsys.readouterr().err

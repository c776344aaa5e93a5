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
from kresp3d.runs.run_folder import RunFolder


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


def copy_with_catalog(run, change):
    """Rewrite the run's catalog: `change` takes the rows, dicts, and changes them."""
    with (run / "catalog.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with (run / "catalog.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def test_the_verdict_is_the_last_line_and_the_first_of_the_report(run, capfd):
    assert main(["evaluate", str(run)]) == 0
    captured = capfd.readouterr()
    values = json.loads((run / "metrics.json").read_text())
    sentence = values["verdict"]["sentence"]
    assert captured.out.splitlines()[-1] == sentence
    assert (run / "report.md").read_text().splitlines()[2] == f"**{sentence}**"
    # All six videos are right, as at most two are by always saying one of three classes; and 4 to 0 may be chance.
    assert "not clearly better than" in sentence and "6 videos cannot tell" in sentence
    assert "WARNING: the network's" in captured.err and "not shown to be better than" in captured.err
    assert max(len(line) for line in captured.out.splitlines() if "│" in line) <= 80


def test_baselines_come_from_the_runs_own_training_videos(run):
    def more_walks(rows):
        # Videos that are neither trained on nor measured any more.
        for row in rows:
            if row["split"] == "train" and row["label"] == "bend" and row["name"] != first:
                row["split"] = "validation"

    with (run / "catalog.csv").open(newline="") as file:
        first = next(row["name"] for row in csv.DictReader(file) if (row["split"], row["label"]) == ("train", "bend"))
    rows = copy_with_catalog(run, more_walks)
    assert main(["evaluate", str(run)]) == 0
    found = json.loads((run / "metrics.json").read_text())["baselines"]
    trained = [row["label"] for row in rows if row["split"] == "train"]
    assert trained.count("bend") == 1
    assert found["majority"]["class"] == max(("jump", "walk"), key=trained.count)
    assert found["majority"]["accuracy"] == pytest.approx(1 / 3)
    assert found["chance"] == pytest.approx(1 / 3)
    # The classes differ by colour and not by motion, which is noise.
    assert 0 <= found["neighbours"]["accuracy"] <= 1 and found["neighbours"]["left_out"] is None


def test_on_training_videos_the_neighbours_are_left_out(run):
    assert main(["evaluate", str(run), "--split", "train"]) == 0
    values = json.loads((run / "evaluation-train" / "metrics.json").read_text())
    assert values["baselines"]["neighbours"]["accuracy"] is None
    assert "find itself" in values["baselines"]["neighbours"]["left_out"]
    assert values["verdict"]["sentence"].startswith("On videos that it was trained on")


@pytest.mark.parametrize("reason", ["gone", "many"])
def test_training_videos_that_are_gone_or_too_many_leave_out_the_neighbours_alone(run, reason, monkeypatch):
    if reason == "gone":
        rows = copy_with_catalog(
            run, lambda rows: rows.append({"name": "lost.mp4", "label": "walk", "group": "g09", "split": "train"})
        )
        assert rows[-1]["name"] == "lost.mp4"
    else:
        monkeypatch.setattr("kresp3d.evaluation.measure.MOST_VIDEOS", 14)
    assert main(["evaluate", str(run)]) == 0
    found = json.loads((run / "metrics.json").read_text())["baselines"]
    assert found["neighbours"]["accuracy"] is None
    assert ("lost.mp4" if reason == "gone" else "15 training videos") in found["neighbours"]["left_out"]
    assert found["majority"]["accuracy"] == pytest.approx(1 / 3)
    assert "nearest neighbours are left out" in (run / "report.md").read_text()


def test_groups_and_scores_of_all_classes_are_in_the_tables(run):
    assert main(["evaluate", str(run)]) == 0
    with (run / "catalog.csv").open(newline="") as file:
        groups = {row["name"]: row["group"] for row in csv.DictReader(file)}
    with (run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    head = ["name", "label", "predicted", "score", "correct", "group", "score_bend", "score_jump", "score_walk"]
    assert list(rows[0]) == head
    for row in rows:
        assert row["group"] == groups[row["name"]]
        scores = {name: float(row[f"score_{name}"]) for name in ("bend", "jump", "walk")}
        assert max(scores, key=scores.get) == row["predicted"]
        assert scores[row["predicted"]] == float(row["score"])
        assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
    with (run / "per_group.csv").open(newline="") as file:
        found = {row["group"]: (int(row["videos"]), int(row["correct"])) for row in csv.DictReader(file)}
    assert found == {
        group: (
            sum(row["group"] == group for row in rows),
            sum(row["group"] == group and row["correct"] == "1" for row in rows),
        )
        for group in {row["group"] for row in rows}
    }


def test_a_wanted_precision_gives_thresholds(run, capsys):
    assert main(["evaluate", str(run), "--recall-at-precision", "0.9"]) == 0
    with (run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (run / "per_class.csv").open(newline="") as file:
        classes = list(csv.DictReader(file))
    for row in classes:
        threshold = float(row["threshold_at_precision"]) - 1e-6
        taken = [r for r in rows if float(r[f"score_{row['class']}"]) >= threshold]
        right = sum(r["label"] == row["class"] for r in taken)
        assert right / len(taken) >= 0.9
        assert float(row["recall_at_precision"]) == pytest.approx(right / int(row["videos"]))
    assert json.loads((run / "metrics.json").read_text())["wanted_precision"] == 0.9
    assert "thresholds for a precision of 90 %" in capsys.readouterr().out


def test_options_that_do_not_fit_get_a_sentence(run, capsys):
    before = (run / "metrics.json").read_bytes()
    assert "two classes" in sentence(["evaluate", run, "--positive", "walk"], capsys, code=2)
    assert "recall-at-precision" in sentence(["evaluate", run, "--recall-at-precision", "0"], capsys, code=2)
    assert (run / "metrics.json").read_bytes() == before

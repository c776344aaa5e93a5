"""Warnings of figures that mean less than they seem to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kresp3d.cli.main import main
from kresp3d.evaluation.doubts import absent_classes, doubts
from kresp3d.evaluation.metrics import evaluate_scores
from kresp3d.records.index import INDEX
from kresp3d.runs.run_folder import RunFolder


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> RunFolder:
    """A run whose files may be changed, its records too."""
    folder = Path(shutil.copytree(trained_run, tmp_path / "run"))
    environment = json.loads((folder / "environment.json").read_text())
    records = shutil.copytree(environment["records"], tmp_path / "records")
    (folder / "environment.json").write_text(json.dumps(environment | {"records": str(records)}))
    return RunFolder.open(folder)


def change(run: RunFolder, **values: object) -> RunFolder:
    """The run with other values in its `environment.json`."""
    file = run.path / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return RunFolder.open(run.path)


def test_there_are_none_on_the_test_split_just_after_training(run):
    assert doubts(run, "test", trained_in=run) == []


def test_the_videos_of_training_and_of_choosing_are_named(run):
    (sentence,) = doubts(run, "train", trained_in=run)
    assert "was trained on these videos" in sentence
    (sentence,) = doubts(run, "validation", trained_in=run)
    assert "the epoch that is kept was chosen by these videos" in sentence


def test_another_runs_test_videos_that_the_network_was_trained_on_are_counted(run, tmp_path):
    other = RunFolder.open(Path(shutil.copytree(run.path, tmp_path / "other")))
    table = other.path / "catalog.csv"
    rows = table.read_text().splitlines()
    # Two of the network's training videos are test videos of the other run.
    moved = [number for number, row in enumerate(rows) if row.endswith(",train")][:2]
    table.write_text(
        "\n".join(row.replace(",train", ",test") if number in moved else row for number, row in enumerate(rows))
    )
    (sentence,) = doubts(other, "test", trained_in=run)
    assert sentence.startswith(f"2 of these 8 videos, such as {rows[moved[0]].split(',')[0]}, have the content of")
    assert doubts(other, "test", trained_in=None) == []
    # Without the files, names are all that tells.
    index = run.records_folder / INDEX
    index.write_text(json.dumps(json.loads(index.read_text()) | {"source": str(tmp_path / "gone")}))
    (sentence,) = doubts(other, "test", trained_in=run)
    assert sentence.startswith(f"2 of these 8 videos, such as {rows[moved[0]].split(',')[0]}, have the names of")


def test_copies_of_training_videos_among_the_test_videos_are_told(run, tmp_path):
    source = Path(json.loads((run.records_folder / INDEX).read_text())["source"])
    copy = Path(shutil.copytree(source, tmp_path / "videos"))
    index = run.records_folder / INDEX
    index.write_text(json.dumps(json.loads(index.read_text()) | {"source": str(copy)}))
    names = {split: [name for name, of in run.videos().items() if of == split] for split in ("train", "test")}
    assert doubts(run, "test", trained_in=run) == []
    shutil.copy(copy / names["train"][0], copy / names["test"][1])
    (sentence,) = doubts(run, "test", trained_in=run)
    assert sentence.startswith(
        f"1 of these 6 videos, such as {names['test'][1]} ({names['train'][0]}), have the content"
    )


def test_classes_without_a_video_are_named():
    scores = np.eye(4)[[0, 2, 0]]
    found = evaluate_scores(scores, np.arange(3), np.array([0, 2, 2]), "abcd", ["x", "y", "z"])
    (sentence,) = absent_classes(found)
    assert "no video is of 2 of the 4 classes (b, d)" in sentence
    assert absent_classes(evaluate_scores(np.eye(2), np.arange(2), np.arange(2), "ab", ["x", "y"])) == []


def test_changed_videos_are_told(run):
    index = run.records_folder / INDEX
    index.write_text(json.dumps(json.loads(index.read_text()) | {"fingerprint": "another"}))
    (sentence,) = doubts(run, "test", trained_in=run)
    assert "the videos or their settings in" in sentence


def test_changed_code_and_packages_are_told(run):
    packages = run.environment["packages"]
    old = change(run, code="another", packages=packages | {"keras": "3.0.0", "numpy": "1.0.0"})
    code, keras = doubts(old, "test", trained_in=old)
    assert code.startswith("kresp3d's code has changed since the training")
    assert keras == f"the network was trained with keras 3.0.0 (now {packages['keras']})"


def test_the_code_that_counts_is_that_of_the_networks_own_training(run, tmp_path):
    other = RunFolder.open(Path(shutil.copytree(run.path, tmp_path / "other")))
    table = other.path / "catalog.csv"
    # No video in common.
    table.write_text(table.read_text().replace(",train", ",validation"))
    changed = change(other, code="another")
    assert doubts(changed, "test", trained_in=run) == []
    assert doubts(changed, "test", trained_in=None) == []
    (sentence,) = doubts(run, "test", trained_in=changed)
    assert sentence.startswith("kresp3d's code has changed since the training")


def test_a_run_of_an_earlier_kresp3d_has_no_digest_and_no_doubt(run):
    values = json.loads((run.path / "environment.json").read_text())
    del values["code"], values["fingerprint"]
    (run.path / "environment.json").write_text(json.dumps(values))
    assert doubts(RunFolder.open(run.path), "test", trained_in=run) == []


def test_records_that_are_gone_are_no_doubt_but_an_error_elsewhere(run):
    shutil.rmtree(run.records_folder)
    assert doubts(run, "test", trained_in=run) == []


def test_evaluate_shows_them_and_puts_them_into_the_report(run, capfd):
    assert main(["evaluate", str(run.path), "--split", "train"]) == 0
    assert "WARNING: the network was trained on these videos" in capfd.readouterr().err
    report = (run.path / "evaluation-train" / "report.md").read_text()
    assert report.index("> **Mind:** the network was trained on these videos") < report.index("| top-1 ")
    assert main(["evaluate", str(run.path)]) == 0
    assert "WARNING: the network was" not in capfd.readouterr().err
    assert "Mind" not in (run.path / "report.md").read_text()

"""`kresp3d crossval` from end to end, on encoded videos."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from kresp3d.cli.main import main
from kresp3d.system.files import locked
from kresp3d.training import process


@pytest.fixture
def config_file(tiny_config, tmp_path):
    """24 videos of three classes and eight groups, and a training of seconds."""
    return write_config(tmp_path / "tiny.yaml", tiny_config)


def write_config(path, tiny_config, **data):
    training = {**tiny_config["training"], "epochs": 1, "warmup_epochs": 0, "keep": "last"}
    values = {**tiny_config, "data": {**tiny_config["data"], **data}, "training": training}
    path.write_text(yaml.safe_dump(values))
    return path


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def processes_of(session):
    """The processes of a session that still run, besides its first."""
    found = []
    for number in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
        try:
            if number != session and os.getsid(number) == session:
                found.append(number)
        except ProcessLookupError:
            pass
    return found


@pytest.mark.slow
@pytest.mark.once
def test_a_cross_validation_that_is_killed_goes_on_to_its_report(config_file, tmp_path, capsys):
    out = tmp_path / "folds"
    arguments = ["crossval", "--config", str(config_file), "--out", str(out), "--folds", "2"]
    command = [sys.executable, "-m", "kresp3d", *arguments]
    leader = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 300
    while not (out / "fold-2.log").exists() and leader.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    # One at a time, so the first is done.
    leader.kill()
    assert leader.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while alive := processes_of(leader.pid):
        assert time.monotonic() < deadline, f"{alive} go on"
        time.sleep(0.1)
    before = (out / "fold-1" / "metrics.json").stat()
    assert not (out / "fold-2" / "metrics.json").exists()
    assert "Unfinished: 1 of 2 folds are done" in (out / "report.md").read_text()
    (records,) = Path(yaml.safe_load(config_file.read_text())["data"]["cache"]).glob("records/*/index.json")
    index = records.stat()

    assert main(arguments) == 1 and "go on with it by --resume" in capsys.readouterr().err
    assert main([*arguments[:-1], "group", "--resume"]) == 2
    assert "begun with --folds 2, received --folds group" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err and "without groups" not in said.err
    assert "24 videos of 3 classes and 8 groups in 2 folds; no validation videos" in said.out
    assert "2 trainings, 1 to do" in said.out and "of 24 videos were recognised by networks" in said.out
    assert (out / "fold-1" / "metrics.json").stat() == before
    # Videos were decoded once, and the records are those of a training of the same configuration.
    assert records.stat() == index

    predictions = read(out / "predictions.csv")
    assert len(predictions) == 24 and len({row["name"] for row in predictions}) == 24
    folds = {row["group"]: row["fold"] for row in predictions}
    assert len(folds) == 8 and sorted(folds.values()) == ["1"] * 4 + ["2"] * 4
    assert all(folds[row["group"]] == row["fold"] for row in predictions)
    for fold in ("1", "2"):
        # Each fold's run says the same of the same videos.
        mine = {row["name"]: row["score_walk"] for row in predictions if row["fold"] == fold}
        run = out / f"fold-{fold}"
        assert {row["name"]: row["score_walk"] for row in read(run / "predictions.csv")} == mine
        sides = {row["name"]: row["split"] for row in read(run / "catalog.csv")}
        assert {name for name, side in sides.items() if side == "test"} == set(mine)
        assert set(sides.values()) == {"train", "test"} and len(sides) == 24
        assert (run / "model.keras").is_file() and not (run / "checkpoints").exists()
    right = sum(row["correct"] == "1" for row in predictions)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["complete"] and metrics["pooled"]["video_top1"] == pytest.approx(right / 24)
    report = (out / "report.md").read_text()
    assert "Unfinished" not in report and f"**{right} of 24 videos were recognised" in report
    assert {path.name for path in out.iterdir()} == {
        *(".lock", "crossval.yaml", "folds.json", "report.md", "metrics.json", "folds.csv", "predictions.csv"),
        *("per_class.csv", "per_group.csv", "figures"),
        *(f"fold-{fold}{ending}" for fold in (1, 2) for ending in ("", ".yaml", ".log")),
    }
    # Which is a run like any other.
    assert main(["evaluate", str(out / "fold-1")]) == 0


@pytest.fixture
def train_by_script(tmp_path, monkeypatch):
    """`train_by_script(text)` makes a shell script stand for trainings; their folder is `$7`."""
    from kresp3d.experiments.cost import Cost, Survey
    from kresp3d.experiments.crossvalidation import crossval

    # Counting takes a process with TensorFlow.
    monkeypatch.setattr(crossval, "survey", lambda *given: Survey({"fold": Cost(1, 1)}, ()))

    def make(text):
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        # In this module alone: the processes that prepare videos start Python, too.
        monkeypatch.setattr(process, "sys", SimpleNamespace(executable=str(script)))
        monkeypatch.setattr(process, "POLL", 0.02)

    return make


def test_a_fold_that_fails_is_named_and_the_others_go_on(config_file, tmp_path, train_by_script, capsys):
    train_by_script("echo $7 >> $0.begun; echo 'Error: the loss became nan'; exit 1")
    out = tmp_path / "folds"
    assert main(["crossval", "-c", str(config_file), "--out", str(out), "--folds", "4", "--jobs", "2"]) == 1
    said = capsys.readouterr()
    assert "4 of 4 folds failed, such as fold 1: the loss became nan" in said.err
    assert len((tmp_path / "python.begun").read_text().split()) == 4
    assert [row["reason"] for row in read(out / "folds.csv")] == ["the loss became nan"] * 4
    assert "## Failed" in (out / "report.md").read_text()


def test_ctrl_c_says_how_to_go_on_and_leaves_a_report(config_file, tmp_path, train_by_script, monkeypatch, capsys):
    from kresp3d.experiments.crossvalidation.runner import Runner

    def interrupted(self, **callbacks):
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "run", interrupted)
    out = tmp_path / "folds"
    arguments = ["crossval", "-c", str(config_file), "--out", str(out), "--folds", "group"]
    monkeypatch.setattr(sys, "argv", ["kresp3d", *arguments])
    assert main(arguments) == 130
    said = capsys.readouterr()
    assert "go on with: kresp3d " in said.out and said.out.splitlines()[-1].endswith(" --resume")
    assert said.err.splitlines()[-1] == "Interrupted."
    assert "**Unfinished: 0 of 8 folds are done.**" in (out / "report.md").read_text()


def test_a_test_split_of_the_data_takes_no_part_unless_all_is_given(tiny_config, tmp_path, train_by_script, capsys):
    videos = Path(tiny_config["data"]["videos"])
    rows = [
        (path.relative_to(videos), path.parent.name, path.name[:3], "test" if path.name < "g02" else "train")
        for path in sorted(videos.rglob("*.mp4"))
    ]
    table = videos / "with_test.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group", "split"), *rows])
    config = write_config(tmp_path / "table.yaml", tiny_config, videos=str(table), group_regex=None)
    train_by_script("exit 1")
    out = tmp_path / "folds"
    assert main(["crossval", "-c", str(config), "--out", str(out), "--folds", "3"]) == 1
    said = capsys.readouterr().out
    assert "its 6 videos are left out, and the other 18 are cross-validated; --all takes all" in said
    assert "18 videos of 3 classes and 6 groups in 3 folds" in said
    for fold in (1, 2, 3):
        catalog = read(out / f"fold-{fold}" / "catalog.csv")
        assert len(catalog) == 18 and {row["group"] for row in catalog} == {f"g{n:02}" for n in range(2, 8)}
    assert main(["crossval", "-c", str(config), "--out", str(out), "--folds", "3", "--all", "--overwrite"]) == 1
    assert "24 videos of 3 classes and 8 groups in 3 folds" in capsys.readouterr().out
    table.unlink()


def test_videos_without_groups_get_a_warning_and_a_cut_for_validation_is_within_the_rest(
    tiny_config, tmp_path, train_by_script, capsys
):
    config = write_config(tmp_path / "plain.yaml", tiny_config, group_regex=None)
    train_by_script("exit 1")
    out = tmp_path / "folds"
    arguments = ["crossval", "-c", str(config), "--out", str(out), "--folds", "4", "--set", "training.keep=best"]
    assert main(arguments) == 1
    said = capsys.readouterr()
    warnings = [line for line in said.err.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 1 and "the videos have no groups: these are dealt one by one" in warnings[0]
    assert "20 % of each training side is for validation" in said.out
    for fold in range(1, 5):
        sides = [row["split"] for row in read(out / f"fold-{fold}" / "catalog.csv")]
        # 18 of 24 are not tested.
        assert (sides.count("test"), sides.count("validation"), sides.count("train")) in [(6, 3, 15), (6, 4, 14)]


def test_what_is_left_at_auto_is_settled_once_for_all_folds(
    tiny_config, tmp_path, train_by_script, monkeypatch, capsys
):
    from kresp3d.experiments.crossvalidation import crossval

    config = write_config(tmp_path / "auto.yaml", tiny_config)
    train_by_script("exit 1")
    rates = []
    monkeypatch.setattr(crossval, "measure_rate", lambda *arguments: rates.append(arguments) or 10.0)
    out = tmp_path / "folds"
    arguments = ["crossval", "-c", str(config), "--out", str(out), "--folds", "3", "--jobs", "2"]
    arguments += [f"--set={key}=auto" for key in ("training.epochs", "training.keep", "clip.per_video")]
    assert main(arguments) == 1
    said = capsys.readouterr()
    settled = yaml.safe_load((out / "crossval.yaml").read_text())
    # 15 of 24 videos train in the smallest folds, by 4 in a step, and 40 steps are an epoch.
    assert settled["clip"]["per_video"] == 11 and settled["training"]["keep"] == "last"
    # 8 minutes of 10 clips a second; 15 * 11 clips are 41 whole steps.
    assert settled["training"]["epochs"] == 480 * 10 // (41 * 4)
    assert "epochs of 41 steps" in said.out and "for each fold" in said.out
    (planned, classes, cores) = rates[0]
    assert classes == 3 and planned.training.precision != "auto" and cores < os.sched_getaffinity(0)
    for fold in (1, 2, 3):
        mine = yaml.safe_load((out / f"fold-{fold}.yaml").read_text())
        assert (mine["training"], mine["clip"], mine["model"]) == (
            settled["training"],
            settled["clip"],
            settled["model"],
        )
    # On another day the machine is slower; the folds that are left are trained as the others were.
    monkeypatch.setattr(crossval, "measure_rate", lambda *arguments: 1 / 0)
    assert main([*arguments, "--resume"]) == 1
    assert yaml.safe_load((out / "crossval.yaml").read_text()) == settled


def test_videos_that_changed_are_not_mixed_with_earlier_folds(tiny_config, tmp_path, train_by_script, capsys):
    videos = tmp_path / "videos"
    shutil.copytree(tiny_config["data"]["videos"], videos)
    config = write_config(tmp_path / "own.yaml", tiny_config, videos=str(videos), cache=str(tmp_path / "data"))
    train_by_script("exit 1")
    arguments = ["crossval", "-c", str(config), "--out", str(tmp_path / "folds"), "--folds", "4"]
    assert main(arguments) == 1
    capsys.readouterr()
    (videos / "walk" / "g07_walk.mp4").unlink()
    assert main([*arguments, "--resume"]) == 1
    said = capsys.readouterr().err
    assert "0 are new or changed and 1 are gone or changed, such as walk/g07_walk.mp4; begin anew" in said


def test_nothing_is_prepared_or_deleted_where_the_folds_are_impossible(config_file, tmp_path, monkeypatch, capsys):
    from kresp3d.experiments.crossvalidation import crossval

    def prepare(data):
        raise AssertionError("videos are decoded")

    monkeypatch.setattr(crossval, "prepare_with_progress", prepare)
    out = tmp_path / "folds"
    (out / "fold-1").mkdir(parents=True)
    (out / "crossval.yaml").write_text("name: tiny\n")
    assert main(["crossval", "-c", str(config_file), "--out", str(out), "--folds", "9", "--overwrite"]) == 2
    assert "--folds 9: there are only 8 groups; use at most 8" in capsys.readouterr().err
    assert (out / "fold-1").is_dir()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.class_weights={fly: 2}", "there is no class 'fly'; the classes are bend, jump, walk"),
        ("data.max_bad=0", "more than data.max_bad allows"),
    ],
)
def test_a_mistake_in_the_settings_replaces_no_cross_validation(
    override, words, tiny_config, tmp_path, train_by_script, capsys
):
    videos = shutil.copytree(tiny_config["data"]["videos"], tmp_path / "videos")
    (videos / "walk" / "g03_walk.mp4").write_bytes(b"no video")
    config = write_config(
        tmp_path / "own.yaml", tiny_config, videos=str(videos), cache=str(tmp_path / "data"), max_bad=0.5
    )
    train_by_script("exit 1")
    arguments = ["crossval", "-c", str(config), "--out", str(tmp_path / "folds"), "--folds", "2"]
    assert main(arguments) == 1
    kept = {path: path.read_bytes() for path in (tmp_path / "folds").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main([*arguments, "--overwrite", "--set", override]) != 0
    assert words in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "folds").rglob("*") if path.is_file()} == kept


def test_copies_in_several_folds_are_told(tiny_config, tmp_path, train_by_script, capsys):
    videos = shutil.copytree(tiny_config["data"]["videos"], tmp_path / "videos")
    shutil.copy(videos / "walk" / "g01_walk.mp4", videos / "walk" / "g02_walk.mp4")
    config = write_config(tmp_path / "own.yaml", tiny_config, videos=str(videos), cache=str(tmp_path / "data"))
    train_by_script("exit 1")
    main(["crossval", "-c", str(config), "--out", str(tmp_path / "folds"), "--folds", "8"])
    assert "another fold, such as walk/g01_walk.mp4 and walk/g02_walk.mp4" in capsys.readouterr().err


def test_only_one_cross_validation_works_in_a_folder(config_file, tmp_path, capsys):
    out = tmp_path / "folds"
    out.mkdir()
    with locked(out, "busy"):
        assert main(["crossval", "-c", str(config_file), "--out", str(out)]) == 1
    assert "another process is cross-validating into" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "--config"),
        (["--config", "TINY", "--folds", "1"], 2, "expected a number of at least 2, or the word 'group', received '1'"),
        (["--config", "TINY", "--folds", "person"], 2, "or the word 'group', received 'person'"),
        (["--config", "TINY", "--folds", "2.5"], 2, "received '2.5'"),
        (["--config", "TINY", "--resume", "--overwrite"], 2, "exclude each other"),
        (["--config", "TINY", "--set", "data.videos=/nowhere"], 2, "/nowhere does not exist"),
        (["--config", "TINY", "--set", "data.videos=s3://bucket/videos"], 2, "in an object store"),
        (["--config", "TINY", "--set", "compress.methods=[prune]"], 2, "compress.methods"),
        (["--config", "TINY", "--set", "training.early_stop=2", "--set", "data.validation=0"], 2, "data.validation"),
        (["--config", "TINY", "--set", "data.group_regex=null", "--folds", "group"], 2, "needs the group of each"),
        (["--config", "TINY", "--set", "data.group_regex=(g)"], 1, "one group"),
        (["--config", "TINY", "--set", "training.strategy=multi_worker"], 2, "trains on one host"),
    ],
)
def test_mistakes_get_a_sentence(arguments, code, words, config_file, tmp_path, capsys):
    paths = {"TINY": config_file}
    words_given = [str(paths.get(argument, argument)) for argument in arguments]
    assert main(["crossval", *words_given, "--out", str(tmp_path / "folds")]) == code
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said

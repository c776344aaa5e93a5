"""`kresp3d reproduce` from end to end, on encoded videos."""

from __future__ import annotations

import csv
import os
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

ROWS = ["residual", "residual_s2", "residual_s4"]


@pytest.fixture
def config_file(tiny_config, tmp_path):
    path = tmp_path / "tiny.yaml"
    # Of the embedded classes, three; so top-5 means nothing.
    path.write_text(yaml.safe_dump({**tiny_config, "training": {**tiny_config["training"], "epochs": 2}}))
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
def test_a_reproduction_that_is_killed_goes_on_to_tables_and_claims(config_file, tmp_path, capsys):
    out = tmp_path / "paper"
    arguments = ["reproduce", "--config", str(config_file), "--out", str(out), "--table", "3", "--seeds", "1"]
    command = [sys.executable, "-m", "kresp3d", *arguments, "--jobs", "2"]
    leader = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    third = out / "residual_s4" / "seed-0.log"
    deadline = time.monotonic() + 300
    while not third.exists() and leader.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    # Two at a time, so one of the first two has finished by now.
    leader.kill()
    assert leader.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while alive := processes_of(leader.pid):
        assert time.monotonic() < deadline, f"{alive} go on"
        time.sleep(0.1)
    finished = {row: (out / row / "seed-0" / "metrics.json") for row in ROWS}
    before = {row: path.stat() for row, path in finished.items() if path.exists()}
    assert before and "residual_s4" not in before

    assert main(arguments) == 1 and "go on with it by --resume" in capsys.readouterr().err
    assert main([*arguments, "--set", "training.epochs=3", "--resume"]) == 2
    assert "training.epochs=2 (now 3)" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "Table 3: step 1 ≥ step 2 ≥ step 4: undecided" in said.out
    assert {row: finished[row].stat() for row in before} == before

    rows = read(out / "results.csv")
    assert [(row["row"], row["seed"], row["status"], row["epochs"]) for row in rows] == [
        (row, "0", "done", "2") for row in ROWS
    ]
    assert all(0 <= float(row["video_top1"]) <= 1 and float(row["seconds"]) > 0 for row in rows)
    assert all(row["video_top5"] == "" for row in rows) and len({row["parameters"] for row in rows}) == 1
    assert [row["verdict"] for row in read(out / "claims.csv")] == ["undecided"] * 2
    assert [row["label"] for row in read(out / "tables.csv")] == ["step 1", "step 2", "step 4"]
    report = (out / "report.md").read_text()
    assert "Unfinished" not in report and "measured on 6 test videos" in report
    assert {path.name for path in out.iterdir()} == {
        *(".lock", "reproduction.yaml", "results.csv", "tables.csv", "claims.csv", "report.md", "figures", *ROWS)
    }
    assert [path.name for path in (out / "figures").iterdir()] == ["table_3.png"]
    for row in ROWS:
        run = out / row / "seed-0"
        assert (run / "model.keras").is_file() and not (run / "checkpoints").exists()


@pytest.fixture
def no_survey(monkeypatch):
    """Counts nothing, which takes a process with TensorFlow."""
    from kresp3d.experiments.cost import Cost, Survey
    from kresp3d.experiments.reproduction import reproduce

    def survey(models, classes, *given):
        return Survey({row: Cost(1, 1) for row in models}, ())

    monkeypatch.setattr(reproduce, "survey", survey)


def test_a_failed_training_is_named_and_exits_with_1(config_file, tmp_path, no_survey, monkeypatch, capsys):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'Error: the loss became nan'; exit 1\n")
    script.chmod(0o755)
    # In this module alone: the processes that prepare videos start Python, too.
    monkeypatch.setattr(process, "sys", SimpleNamespace(executable=str(script)))
    out = tmp_path / "paper"
    assert main(["reproduce", "-c", str(config_file), "--out", str(out), "--table", "3", "--seeds", "1"]) == 1
    said = capsys.readouterr()
    assert "3 of 3 trainings failed, such as residual with seed 0: the loss became nan" in said.err
    assert [row["reason"] for row in read(out / "results.csv")] == ["the loss became nan"] * 3
    assert "## Failed" in (out / "report.md").read_text()


def test_ctrl_c_says_how_to_go_on_and_leaves_a_report(config_file, tmp_path, no_survey, monkeypatch, capsys):
    from kresp3d.experiments.reproduction.runner import Runner

    def interrupted(self, **callbacks):
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "run", interrupted)
    out = tmp_path / "paper"
    arguments = ["reproduce", "-c", str(config_file), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["kresp3d", *arguments])
    assert main(arguments) == 130
    said = capsys.readouterr()
    assert "go on with: kresp3d " in said.out and said.out.splitlines()[-1].endswith(" --resume")
    assert said.err.splitlines()[-1] == "Interrupted."
    assert "**Unfinished: 0 of 27 trainings are done.**" in (out / "report.md").read_text()


def test_only_one_reproduction_works_in_a_folder(config_file, tmp_path, capsys):
    out = tmp_path / "paper"
    out.mkdir()
    with locked(out, "busy"):
        assert main(["reproduce", "-c", str(config_file), "--out", str(out)]) == 1
    assert "another process is reproducing into" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.videos=/nowhere", "/nowhere does not exist"),
        ("training.class_weights={fly: 2}", "there is no class 'fly'; the classes are bend, jump, walk"),
    ],
)
def test_a_mistake_in_the_settings_replaces_nothing(
    override, words, config_file, tmp_path, no_survey, monkeypatch, capsys
):
    from kresp3d.experiments.reproduction.runner import Runner

    monkeypatch.setattr(Runner, "run", lambda self, **callbacks: None)
    out = tmp_path / "earlier"
    assert main(["reproduce", "-c", str(config_file), "--out", str(out)]) == 0
    kept = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert len(kept) > 3
    capsys.readouterr()
    assert main(["reproduce", "-c", str(config_file), "--out", str(out), "--overwrite", "--set", override]) == 2
    assert words in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == kept


def test_what_is_somebody_elses_is_left_as_it_is(config_file, tmp_path, capsys):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "holiday.png").write_text("a picture")
    assert main(["reproduce", "-c", str(config_file), "--out", str(theirs)]) == 1
    assert "no part of a reproduction (holiday.png)" in capsys.readouterr().err
    assert [path.name for path in theirs.iterdir()] == ["holiday.png"]
    assert main(["reproduce", "-c", str(config_file), "--out", str(theirs / "holiday.png")]) == 1
    assert "is a file; a reproduction needs a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "--config"),
        (["--config", "NONE"], 2, "not found"),
        (["--config", "TINY", "--table", "1"], 2, "'2', '3', '4', 'all'"),
        (["--config", "TINY", "--seeds", "0"], 2, "--seeds"),
        (["--config", "TINY", "--resume", "--overwrite"], 2, "exclude each other"),
        (["--config", "TINY", "--set", "data.videos=/nowhere"], 2, "/nowhere"),
        (["--config", "TINY", "--set", "data.test=0"], 1, "has no test videos, on which networks are compared"),
        (["--config", "TINY", "--set", "seed=2147483647", "--seeds", "2"], 2, "row rgb: 'seed'"),
    ],
)
def test_mistakes_get_a_sentence(arguments, code, words, config_file, tmp_path, capsys):
    paths = {"TINY": config_file, "NONE": tmp_path / "none.yaml"}
    words_given = [str(paths.get(argument, argument)) for argument in arguments]
    assert main(["reproduce", *words_given, "--out", str(tmp_path / "paper")]) == code
    assert words in capsys.readouterr().err


def test_trainings_do_not_fight_for_a_gpu(config_file, tmp_path, monkeypatch, capsys):
    from kresp3d.experiments.cost import Survey
    from kresp3d.experiments.reproduction import reproduce

    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    monkeypatch.setattr(reproduce, "survey", lambda *given: Survey({}, ("NVIDIA H100",)))
    assert main(["reproduce", "-c", str(config_file), "--out", str(tmp_path / "paper"), "--jobs", "2"]) == 2
    assert "memory of the GPU (NVIDIA H100); use --jobs 1" in capsys.readouterr().err

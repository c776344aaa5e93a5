"""`kresp3d tune` from end to end, on encoded videos."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from kresp3d.cli.main import main
from kresp3d.config.schema import load_config
from kresp3d.experiments.tuning.journal import Journal

#: The second one is not a number after a few steps.
RATES = [0.1, 1e30, 0.05]


@pytest.fixture
def config_file(tiny_config, tmp_path):
    model = {**tiny_config["model"], "modality": "rgb"}
    space = {"training.learning_rate": {"choice": RATES}}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**tiny_config, "model": model, "tune": {"space": space}}))
    return path


@pytest.mark.slow
@pytest.mark.once
def test_a_sweep_that_is_killed_goes_on_and_a_trial_that_fails_does_not_end_it(config_file, tmp_path, capsys):
    out = tmp_path / "sweep"
    command = [sys.executable, "-m", "kresp3d", "tune", "--config", str(config_file), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    running = out / "trials" / "0001" / "seed-0.log"
    deadline = time.monotonic() + 120
    while not running.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    # Its training ends with it.
    deadline = time.monotonic() + 20
    while alive := _processes_of(process.pid):
        assert time.monotonic() < deadline, f"{alive} go on"
        time.sleep(0.1)
    finished = (out / "trials" / "0000" / "seed-0" / "metrics.json").stat()

    assert main(["tune", "--config", str(config_file), "--out", str(out), "--resume"]) == 0
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    # Two lines: what had finished before is not run again.
    assert [line[:4] for line in said.out.splitlines() if line[:3] == "000"] == ["0001", "0002"]
    assert (out / "trials" / "0000" / "seed-0" / "metrics.json").stat() == finished
    with (out / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["training.learning_rate"]) for row in rows] == RATES
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert "training.learning_rate" in rows[1]["reason"]

    best = load_config(out / "best.yaml")
    scores = {float(row["training.learning_rate"]): float(row["video_top1"] or 0) for row in rows}
    assert scores[best.training.learning_rate] == max(scores.values())
    # Trials are compared on validation videos alone, and the network that is kept is tested as always.
    assert load_config(out / "trials" / "0002" / "seed-0" / "config.yaml").evaluation.split == "validation"
    assert best.evaluation.split == "test"
    assert {path.name for path in out.iterdir()} == {
        *(".lock", "sweep.yaml", "journal.jsonl", "trials", "trials.csv", "best.yaml", "report.md", "figures", "logs")
    }


def _processes_of(session):
    """The processes of a session that still run."""
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [number for number in numbers if number != session and _session(number) == session]


def _session(process):
    try:
        return os.getsid(process)
    except ProcessLookupError:
        return None


def test_a_finished_sweep_is_left_alone_and_resumed_at_once(config_file, tmp_path, monkeypatch, capsys):
    from kresp3d.experiments.tuning.journal import Outcome
    from kresp3d.experiments.tuning.trial import TrialRunner

    monkeypatch.setattr(TrialRunner, "run", lambda *arguments, **options: Outcome("done", (0.5,), 2, 1.0))
    arguments = ["tune", "--config", str(config_file), "--out", str(tmp_path / "sweep")]
    assert main(arguments) == 0
    assert main(arguments) == 1
    assert "holds a sweep already" in capsys.readouterr().err
    monkeypatch.setattr(TrialRunner, "run", lambda *arguments, **options: pytest.fail("a trial was run again"))
    assert main([*arguments, "--resume"]) == 0
    assert main([*arguments, "--resume", "--seeds", "2"]) == 2
    assert "begun with tune.seeds=1 (now 2)" in capsys.readouterr().err


def test_when_every_trial_fails_the_sweep_does(config_file, tmp_path, monkeypatch, capsys):
    from kresp3d.experiments.tuning.journal import Outcome
    from kresp3d.experiments.tuning.trial import TrialRunner

    monkeypatch.setattr(TrialRunner, "run", lambda *arguments, **options: Outcome("failed", reason="no memory"))
    assert main(["tune", "--config", str(config_file), "--out", str(tmp_path / "sweep")]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "Error: no trial ended well: no memory"
    assert len(Journal(tmp_path / "sweep" / "journal.jsonl").trials()) == 3


def test_ctrl_c_says_how_to_go_on_and_leaves_a_report(config_file, tmp_path, monkeypatch, capsys):
    from kresp3d.experiments.tuning.journal import Outcome
    from kresp3d.experiments.tuning.trial import TrialRunner

    outcomes = iter([Outcome("done", (0.5,), 2, 1.0)])

    def run(*arguments, **options):
        try:
            return next(outcomes)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(TrialRunner, "run", run)
    assert main(["tune", "--config", str(config_file), "--out", str(tmp_path / "sweep")]) == 130
    said = capsys.readouterr()
    assert "--resume" in said.out and said.err.splitlines()[-1] == "Interrupted."
    assert "1 finished, 1 not finished" in (tmp_path / "sweep" / "report.md").read_text()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.videos=/nowhere", "/nowhere does not exist"),
        ("training.class_weights={fly: 2}", "there is no class 'fly'; the classes are bend, jump, walk"),
    ],
)
def test_a_mistake_in_the_settings_replaces_nothing(override, words, config_file, tmp_path, monkeypatch, capsys):
    from kresp3d.experiments.tuning.journal import Outcome
    from kresp3d.experiments.tuning.trial import TrialRunner

    monkeypatch.setattr(TrialRunner, "run", lambda *arguments, **options: Outcome("done", (0.5,), 2, 1.0))
    out = tmp_path / "earlier"
    assert main(["tune", "-c", str(config_file), "--out", str(out)]) == 0
    kept = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert len(kept) > 3
    capsys.readouterr()
    assert main(["tune", "-c", str(config_file), "--out", str(out), "--overwrite", "--set", override]) == 2
    assert words in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == kept


def test_what_is_somebody_elses_is_left_as_it_is(config_file, tmp_path, capsys):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "holiday.png").write_text("a picture")
    assert main(["tune", "-c", str(config_file), "--out", str(theirs)]) == 1
    assert "no part of a sweep (holiday.png)" in capsys.readouterr().err
    assert [path.name for path in theirs.iterdir()] == ["holiday.png"]
    assert main(["tune", "-c", str(config_file), "--out", str(theirs / "holiday.png")]) == 1
    assert "is a file; a sweep needs a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "--config"),
        (["--config", "NONE"], 2, "not found"),
        (["--config", "BASE"], 2, "no tune.space"),
        (["--config", "TINY", "--resume", "--overwrite"], 2, "exclude each other"),
        (["--config", "TINY", "--worker", "1"], 2, "--chief HOST:PORT"),
        (["--config", "TINY", "--chief", "nowhere"], 2, "HOST:PORT"),
        (["--config", "TINY", "--chief", "203.0.113.1:80"], 1, "cannot listen"),
        (["--config", "TINY", "--trials", "0"], 2, "--trials"),
        (["--config", "TINY", "--set", "tune.oracle=best"], 2, "tune.oracle"),
        (["--config", "TINY", "--set", "data.validation=0"], 1, "raise data.validation, which is 0"),
        (["--config", "TINY", "--set", "data.videos=/nowhere"], 2, "/nowhere"),
    ],
)
def test_mistakes_get_a_sentence(arguments, code, words, config_file, tmp_path, monkeypatch, capsys):
    # What --chief sets is for this process alone.
    for name in ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    (tmp_path / "base.yaml").write_text("name: base\n")
    paths = {"TINY": config_file, "BASE": tmp_path / "base.yaml", "NONE": tmp_path / "none.yaml"}
    capsys.readouterr()
    assert main(["tune", *(str(paths.get(a, a)) for a in arguments), "--out", str(tmp_path / "sweep")]) == code
    err = capsys.readouterr().err
    assert words in err.splitlines()[-1] and "Traceback" not in err

"""Trainings in processes of their own; see also `tests/cli/test_tune.py`, where real ones are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kresp3d.config.schema import load_config, parse_config
from kresp3d.training import process as process_module
from kresp3d.training.process import Training, end, start


@pytest.fixture
def training(tmp_path):
    training = Training(tmp_path / "rgb" / "seed-0")
    training.path.mkdir(parents=True)
    return training


def test_the_configuration_reaches_the_process_whole(tmp_path):
    training = Training(tmp_path / "rgb" / "seed-0")
    config = parse_config({"seed": 3, "model": {"modality": "rgb"}}, "test")
    training.write_config(config)
    words = training.command("--until", "2")
    assert load_config(words[words.index("--config") + 1]) == config
    assert words[0] == "train" and words[-3:] == ["--resume", "--until", "2"]


def test_epochs_are_counted_with_and_without_validation(training):
    assert (training.epoch, training.curve()) == (0, [])
    training.run.history_file.write_text("epoch,loss\n1,2.0\n2,1.5\n")
    assert (training.epoch, training.curve()) == (2, [])
    training.run.history_file.write_text("epoch,val_top1\n1,0.25\n")
    assert (training.epoch, training.curve()) == (1, [0.25])


def test_a_training_is_done_when_it_is_measured_after_its_last_epoch(training):
    training.run.config_file.write_text("training: {epochs: 2}")
    training.run.history_file.write_text("epoch,loss\n1,2.0\n")
    assert not training.is_done(2)
    (training.path / "metrics.json").write_text('{"video_top1": 0.5}')
    assert training.is_done(1) and not training.is_done(2)
    training.run.config_file.write_text("training: {epochs: 2, early_stop: 1}")
    assert training.is_done(2) and training.metrics() == {"video_top1": 0.5}


def test_the_reason_is_that_of_the_last_process_not_of_an_earlier_one(training):
    assert training.log_size == 0
    training.log.write_text("Error: the loss became nan\n")
    assert training.log_size == training.log.stat().st_size
    begun = training.log_size
    assert training.reason(1, begun) == f"ended with code 1; see {training.log}"
    with training.log.open("a") as log:
        log.write("step 3\nError: no space left on the disk\n")
    assert training.reason(1, begun) == "no space left on the disk"
    assert training.reason(-9, begun).startswith("killed by the system")


@pytest.fixture
def script(tmp_path, monkeypatch):
    """`script(text)` puts a shell script in the place of Python, so that processes start at once."""

    def put(text):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setattr(process_module, "sys", SimpleNamespace(executable=str(path)))

    return put


def test_a_process_keeps_to_its_cores(tmp_path, script):
    core = max(os.sched_getaffinity(0))
    script("sleep 0.2; grep Cpus_allowed_list /proc/self/status")
    with (tmp_path / "log").open("wb") as log, start([], log, {core}) as process:
        process.wait(timeout=20)
    assert (tmp_path / "log").read_text().split() == ["Cpus_allowed_list:", str(core)]


def test_all_are_interrupted_at_once_and_those_that_do_not_end_are_killed(monkeypatch):
    monkeypatch.setattr(process_module, "GRACE", 1.0)
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    # Python does not end by SIGINT where it was started in a shell's background, as these tests may be.
    willing = (
        "import signal, time; signal.signal(signal.SIGINT, lambda *_: exit(7)); print('up', flush=True); time.sleep(60)"
    )
    programs = [deaf, deaf, willing]
    processes = [subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) for text in programs]
    for process in processes:
        assert process.stdout.readline() == b"up\n"
    began = time.monotonic()
    end(processes)
    assert [process.poll() for process in processes] == [-signal.SIGKILL, -signal.SIGKILL, 7]
    assert time.monotonic() - began < 10
    for process in processes:
        process.stdout.close()


def test_no_process_is_left_when_the_block_ends(tmp_path, script, monkeypatch):
    monkeypatch.setattr(process_module, "GRACE", 1.0)
    script("exec sleep 60")
    with (
        (tmp_path / "log").open("wb") as log,
        pytest.raises(KeyboardInterrupt),
        process_module.training_process([], log) as process,
    ):
        raise KeyboardInterrupt
    assert process.returncode is not None and not Path(f"/proc/{process.pid}").exists()

"""Processes that run out of memory, are killed, or want the same folder as another one."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from kresp3d.cli.main import main


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start(words, **options)` runs `kresp3d` with these words in a process of its own."""
    running = []

    def begin(words: list[object], **options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "kresp3d", *map(str, words)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something holds while a process runs."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def long_config(tiny_config: dict, tmp_path: Path) -> Path:
    """A training that is under way until it is ended."""
    values = {**tiny_config, "training": {**tiny_config["training"], "epochs": 100_000, "tensorboard_every": 0}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def training(start, long_config: Path, tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    """A training that has finished an epoch, and its folder."""
    run = tmp_path / "run"
    process = start(["train", "--config", long_config, "--out", run])
    wait_for((run / "history.csv").exists, process)
    return process, run


def test_a_killed_training_is_spoken_for(training) -> None:
    process, run = training
    process.send_signal(signal.SIGKILL)
    # Standard error stays open until that is done.
    _, error = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert f"The training in {run} was killed" in error and "lower training.batch_size" in error
    assert f"go on by `kresp3d train --resume --out {run}`" in error


def test_a_training_without_enough_memory_says_what_to_lower(start, long_config: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (2 * 2**30, 2 * 2**30))

    words = ["train", "--config", long_config, "--out", tmp_path / "run", "--set", "clip.per_video=20"]
    # A single tensor of the stem takes 1 GiB.
    for value in ("training.batch_size=256", "model.frames=16", "model.size=64", "model.width=64"):
        words += ["--set", value]
    process = start([*words, "--set", "data.short_side=64"], preexec_fn=limit)
    _, error = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "lower training.batch_size" in error, error[-2000:]
    assert not (tmp_path / "run" / "model.keras").exists()


def test_a_second_training_in_one_folder_is_refused_and_the_first_goes_on(training, capfd) -> None:
    process, run = training
    assert main(["train", "--resume", "--out", str(run)]) == 1
    assert f"another process is training in {run}" in capfd.readouterr().err
    rows = (run / "history.csv").read_text().count("\n")
    wait_for(lambda: (run / "history.csv").read_text().count("\n") > rows + 1, process)


def test_a_second_prepare_of_one_folder_waits_for_the_first(start, tiny_config, tmp_path, capfd) -> None:
    videos = tmp_path / "videos"
    # Enough to be under way for a while.
    for copy in range(20):
        for video in Path(tiny_config["data"]["videos"]).glob("*/*.mp4"):
            target = videos / video.parent.name / f"{copy}-{video.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(video)
    path = tmp_path / "config.yaml"
    path.write_text(
        yaml.safe_dump({"data": {"videos": str(videos), "records": str(tmp_path / "records"), "workers": 1}})
    )
    words = ["data", "prepare", "--config", str(path)]
    process = start(words)
    wait_for(lambda: list((tmp_path / "records").glob(".part-*.tfrecord")), process)
    assert main(words) == 0
    assert "another process is preparing" in capfd.readouterr().err
    assert process.communicate(timeout=120)[0] is not None and process.returncode == 0


def test_a_second_export_to_one_place_is_refused_and_the_first_finishes(start, trained_run, tmp_path, capfd) -> None:
    to = tmp_path / "out"
    words = ["export", str(trained_run), "--format", "saved_model", "--to", str(to)]
    process = start(words)
    wait_for(lambda: list(to.glob(".export-*")), process)
    assert main(words) == 1
    assert f"another process is exporting into {to}" in capfd.readouterr().err
    assert process.poll() is None, "it had ended by itself"
    process.communicate(timeout=120)
    assert process.returncode == 0 and (to / "1" / "saved_model.pb").is_file()

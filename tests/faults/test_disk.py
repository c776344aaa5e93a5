"""Disks that are full or may not be written, real ones: small file systems in memory, which only root may mount."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from kresp3d.cli.main import main
from kresp3d.export.export import FORMATS, installed_formats


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """`mount(options)` gives a file system of its own; called again, it changes that one's options."""
    path = tmp_path / "disk"

    def change(options: str) -> Path:
        again = "remount," if path.is_mount() else ""
        path.mkdir(exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", again + options, "tmpfs", path], capture_output=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
        return path

    if shutil.which("mount") is None:
        pytest.skip("there is no mount on this machine")
    yield change
    if path.is_mount():
        # What a library still has open, as after an error, is let go later.
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def config(tiny_config: dict, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tiny_config))
    return path


def files(folder: Path) -> set[str]:
    """What is in a folder but locks, which are empty."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def fails(words: list[object], capfd: pytest.CaptureFixture[str], code: int = 1) -> str:
    """Run a command that has to fail in one sentence, and return that."""
    assert main([str(word) for word in words]) == code
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("Error: ") and "unexpected" not in error
    return error


def test_prepare_on_a_full_disk_goes_on_where_there_is_room(mount, config, capfd):
    disk = mount("size=64k")
    command = ["data", "prepare", "--config", config, "--set", f"data.records={disk}/records"]
    assert "no space left for the records" in fails(command, capfd)
    assert not {name for name in files(disk) if name.endswith((".tfrecord", ".json"))}
    mount("size=8m")
    assert main([str(word) for word in command]) == 0
    assert "records/index.json" in files(disk) and not {name for name in files(disk) if ".tmp" in name}


def test_training_on_a_full_disk_keeps_what_is_finished_and_goes_on(mount, config, capfd):
    disk = mount("size=8m")
    command = ["train", "--config", config, "--out", disk / "run"]
    assert main([str(word) for word in [*command, "--until", "1"]]) == 0
    space = os.statvfs(disk)
    mount(f"size={(space.f_blocks - space.f_bfree) * space.f_frsize + 16_384}")
    error = fails([*command, "--resume"], capfd)
    assert "cannot write into" in error and "go on by resume=True (--resume)" in error
    assert (disk / "run" / "history.csv").read_text().count("\n") == 2
    mount("size=8m")
    assert main([str(word) for word in [*command, "--resume"]]) == 0
    assert "resuming after epoch 1" in capfd.readouterr().out
    assert (disk / "run" / "metrics.json").is_file()
    assert not {name for name in files(disk) if ".part" in name or ".tmp" in name}


@pytest.mark.parametrize("form", FORMATS)
def test_export_on_a_full_disk_leaves_nothing(form, mount, trained_run, capfd):
    if form not in installed_formats():
        pytest.skip(f"{form} is not installed")
    disk = mount("size=16k")
    error = fails(["export", trained_run, "--format", form, "--to", disk / "out"], capfd)
    assert "no space left" in error.lower() or "is the disk full?" in error
    assert not files(disk)


def test_scores_for_a_full_disk_are_a_sentence(mount, trained_run, tiny_config, capfd):
    disk = mount("size=4k")
    (disk / "filler").write_bytes(bytes(4096))
    video = next(Path(tiny_config["data"]["videos"]).rglob("*.mp4"))
    assert "no space left" in fails(["predict", trained_run, video, "--json", disk / "scores.json"], capfd).lower()
    assert files(disk) == {"filler"}


@pytest.mark.once
def test_a_sweep_on_a_full_disk_is_a_sentence_and_goes_on_where_there_is_room(mount, tiny_config, tmp_path, capfd):
    config = tmp_path / "sweep.yaml"
    space = {"training.learning_rate": {"choice": [0.1, 0.05]}}
    config.write_text(yaml.safe_dump({**tiny_config, "tune": {"space": space}}))
    disk = mount("size=200k")
    command = ["tune", "--config", config, "--out", disk / "sweep"]
    assert "no space left" in fails(command, capfd).lower()
    mount("size=16m")
    assert main([str(word) for word in [*command, "--resume"]]) == 0
    rows = (disk / "sweep" / "trials.csv").read_text().splitlines()
    assert len(rows) == 3 and all("done" in row for row in rows[1:])


COMMANDS = [
    *("prepare", "check", "synth", "train", "resume", "export", "predict", "evaluate", "explain"),
    *("residual", "tune", "reproduce", "bench"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_folder_is_a_sentence(command, mount, config, trained_run, tiny_config, tmp_path, capfd):
    disk = mount("size=16m")
    shutil.copytree(trained_run, disk / "run")
    before = files(disk)
    mount("ro")
    sweep = tmp_path / "sweep.yaml"
    space = {"training.learning_rate": {"choice": [0.1, 0.05]}}
    sweep.write_text(yaml.safe_dump({**tiny_config, "tune": {"space": space}}))
    video = next(Path(tiny_config["data"]["videos"]).rglob("*.mp4"))
    words = {
        "prepare": ["data", "prepare", "--config", config, "--set", f"data.records={disk}/records"],
        "train": ["train", "--config", config, "--out", disk / "new"],
        "resume": ["train", "--resume", "--out", disk / "run"],
        "export": ["export", trained_run, "--format", "saved_model", "--to", disk / "out"],
        "predict": ["predict", trained_run, video, "--json", disk / "scores.json"],
        "evaluate": ["evaluate", disk / "run"],
        "explain": ["explain", disk / "run", video, "--out", disk / "picture.png"],
        "residual": ["residual", video, "--out", disk / "picture.png"],
        "check": ["data", "check", "--config", config, "--report", disk / "report.csv"],
        "synth": ["data", "synth", "--out", disk / "videos"],
        "tune": ["tune", "--config", sweep, "--out", disk / "sweep"],
        "reproduce": ["reproduce", "--config", config, "--out", disk / "reproduction"],
        "bench": ["bench", trained_run, "--json", disk / "bench.json"],
    }
    # A place for scores is looked at before the work, as every option is.
    error = fails(words[command], capfd, 2 if command in ("predict", "bench") else 1)
    assert str(disk) in error and "ead-only" in error
    assert files(disk) == before


def test_a_killed_export_leaves_no_name_and_the_next_one_is_whole(trained_run, tmp_path):
    to = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "kresp3d", "export", trained_run, "--format", "saved_model", "--to", to]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    # In the middle: something is being written, under no final name.
    while not [path for path in to.rglob("*") if path.is_file() and path.stat().st_size] and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (to / "1").exists()
    assert main(["export", str(trained_run), "--format", "saved_model", "--to", str(to)]) == 0
    assert (to / "1" / "saved_model.pb").is_file() and (to / "parity.json").is_file()
    assert not [path.name for path in to.iterdir() if path.name.startswith(".") and path.name != ".lock"]

"""`kresp3d init`, and training with what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kresp3d.cli.main import main
from kresp3d.config.schema import load_config

#: What makes the network and its training tiny.
TINY = {
    **{"model.size": 16, "model.width": 4, "model.blocks": "[1]", "model.fc1": 8, "model.frames": 4},
    **{"training.epochs": 2, "clip.per_video": 2, "data.short_side": 32, "data.workers": 1, "evaluation.clips": 1},
    **{"training.tensorboard_every": 0, "training.tensorboard_clips": 0, "training.precision": "float32"},
}


@pytest.fixture
def home(tiny_config, tmp_path, monkeypatch):
    """The working folder, with the tiny videos in it."""
    (tmp_path / "videos").symlink_to(tiny_config["data"]["videos"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_it_writes_trains(home, capsys):
    assert main(["init", "videos"]) == 0
    out = capsys.readouterr().out
    assert "24 videos of 3 classes: bend, jump, walk." in out and "8 groups by data.group_regex" in out
    assert "kresp3d train --config kresp3d.yaml" in out
    config = load_config("kresp3d.yaml")
    assert config.data.videos == "videos" and config.name == "videos"
    overrides = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    assert main(["train", "--config", "kresp3d.yaml", *overrides]) == 0
    run = Path("runs/videos")
    assert json.loads((run / "training.json").read_text())["epochs"] == 2
    sides = {}
    for line in (run / "catalog.csv").read_text().splitlines()[1:]:
        _, _, group, split = line.split(",")
        sides.setdefault(group, set()).add(split)
    assert set(sides) == {f"g{n:02}" for n in range(8)} and all(len(splits) == 1 for splits in sides.values())


def test_nothing_is_replaced_unasked(home, capsys):
    Path("mine.yaml").write_text("name: other\n")
    assert main(["init", "videos", "--out", "mine.yaml"]) == 1
    assert "--overwrite" in capsys.readouterr().err and Path("mine.yaml").read_text() == "name: other\n"
    assert main(["init", "videos", "--out", "mine.yaml", "--overwrite"]) == 0
    assert load_config("mine.yaml").data.format == "folder"
    assert "not exist" in fails(["init", "nothing", "--out", "a.yaml"], capsys) and not Path("a.yaml").exists()


def test_a_file_elsewhere_finds_the_videos_from_anywhere(home, capsys):
    Path("configs").mkdir()
    assert main(["init", "videos", "--out", "configs/mine.yaml"]) == 0
    assert load_config("configs/mine.yaml").data.videos == str(home / "videos")


def fails(arguments, capsys):
    capsys.readouterr()
    assert main(arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line

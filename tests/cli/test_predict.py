"""`kresp3d predict`."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from kresp3d.cli.main import main


@pytest.fixture
def videos(trained_run):
    """The folder of the videos that the run was trained on."""
    return Path(yaml.safe_load((trained_run / "config.yaml").read_text())["data"]["videos"])


def test_scores_are_those_of_the_evaluation(trained_run, videos, tmp_path, capsys):
    with (trained_run / "predictions.csv").open() as file:
        measured = {row["name"]: row for row in csv.DictReader(file)}
    paths = [videos / name for name in measured]
    assert main(["predict", str(trained_run), *map(str, paths), "--json", str(tmp_path / "scores.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = json.loads((tmp_path / "scores.json").read_text())
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    for row, line, expected, path in zip(rows, lines, measured.values(), paths, strict=True):
        scores = [entry["score"] for entry in row["top"]]
        assert len(scores) == 3 and sum(scores) == pytest.approx(1) and scores == sorted(scores, reverse=True)
        assert row["top"][0]["class"] == expected["predicted"]
        # The records hold JPEG of the frames that are decoded here.
        assert scores[0] == pytest.approx(float(expected["score"]), abs=0.03)
        assert line.startswith(f"{path}: {expected['predicted']} {scores[0]:.1%}, ")


def test_a_bad_video_does_not_stop_the_rest(trained_run, videos, tmp_path, capsys):
    folder = tmp_path / "some"
    folder.mkdir()
    good = sorted(videos.rglob("*.mp4"))[:2]
    shutil.copy(good[0], folder / "a.mp4")
    (folder / "b.mp4").write_bytes(b"no video" * 100)
    (folder / "notes.txt").write_text("no video either, and not asked for")
    shutil.copy(good[1], folder / "c.MP4")
    arguments = ["predict", str(trained_run), str(folder), "--top", "1", "--json", str(tmp_path / "scores.json")]
    capsys.readouterr()
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines()] == [f"{folder}/a.mp4", f"{folder}/c.MP4"]
    assert "b.mp4" in captured.err and captured.err.endswith("Error: 1 of 3 videos could not be decoded\n")
    rows = json.loads((tmp_path / "scores.json").read_text())
    assert [list(row) for row in rows] == [["path", "top"], ["path", "error"], ["path", "top"]]
    assert [len(row["top"]) for row in rows if "top" in row] == [1, 1]


def test_what_cannot_be_predicted_gets_a_sentence(trained_run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for path, words in (("nowhere.mp4", "does not exist"), ("empty", "holds no video")):
        capsys.readouterr()
        assert main(["predict", str(trained_run), str(tmp_path / path)]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert words in line and str(tmp_path / path) in line


def test_a_video_shorter_than_a_clip_is_looped(trained_run, make_video, tmp_path):
    video = make_video(tmp_path / "short.mp4", np.full((2, 40, 48, 3), 90, np.uint8), fps=15)
    assert main(["predict", str(trained_run), str(video), "--clips", "3", "--json", str(tmp_path / "s.json")]) == 0
    [row] = json.loads((tmp_path / "s.json").read_text())
    assert len(row["top"]) == 3

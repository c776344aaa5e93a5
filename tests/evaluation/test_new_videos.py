"""Measuring on labelled videos from anywhere, with an engine that tells brightness, and from the command line."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kresp3d
from kresp3d.cli.main import main
from kresp3d.clips.clip_format import ClipFormat
from kresp3d.config.schema import parse_config
from kresp3d.evaluation.new_videos import check_folder, labelled_videos, measure_videos, videos_config
from kresp3d.inference.engine import Engine
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError, UsageError

CLIP = ClipFormat(frames=4, step=1, size=16, frame_stride=1, fps=15, short_side=32)
INFO = NetworkInfo(name="brightness", format="keras", labels=("light", "dark", "none"), clip=CLIP, clips=3, source="")


class Brightness(Engine):
    """Scores (b, 1 - b, 0) for the mean brightness b of a clip."""

    def __init__(self):
        super().__init__(INFO, batch_size=8)

    def _score(self, frames):
        mean = frames.reshape(len(frames), -1).mean(axis=1) / 255
        return np.stack([mean, 1 - mean, 0 * mean], axis=1).astype(np.float32)


def grey(level, frames=12):
    return np.full((frames, 40, 48, 3), level, np.uint8)


@pytest.fixture
def videos(tmp_path, make_video):
    """Two bright videos called light, one of them dark; a dark one; and one that is no video."""
    folder = tmp_path / "mine"
    for name, level in {"light/a.mp4": 200, "light/b.avi": 60, "dark/c.mp4": 30}.items():
        make_video(folder / name, grey(level), fps=15)
    (folder / "dark" / "broken.mp4").write_bytes(b"no video")
    return folder


def measure(videos, *overrides, **options):
    return measure_videos(Brightness(), videos, overrides, name="brightness", **options)


def test_scores_bad_videos_and_the_report(videos, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("kresp3d.evaluation.new_videos.logger.propagate", True)
    out = tmp_path / "out"
    assessment = measure(videos, "data.max_bad=0.25", folder=out, command="the command")
    found = assessment.evaluation
    assert found.video_names == ("dark/c.mp4", "light/a.mp4", "light/b.avi") and found.clips == 9
    assert (found.video_top1, found.clip_top1) == pytest.approx((2 / 3, 2 / 3))
    # A clip's score of `light` is its brightness, as video codecs leave it.
    assert found.video_scores[:, 0] * 255 == pytest.approx([30, 200, 60], abs=4)
    assert list(found.bad) == ["dark/broken.mp4"] and "cannot decode dark/broken.mp4" in caplog.text
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(assessment.to_json()))
    assert (metrics["videos"], metrics["bad"], metrics["source"]) == (3, 1, str(videos))
    # A class without videos has no figures of its own.
    assert [row["video_top1"] for row in metrics["per_class"]] == [0.5, 1.0, None]
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert [(row["name"], row["predicted"], row["correct"]) for row in rows] == [
        ("dark/c.mp4", "dark", "1"),
        ("light/a.mp4", "light", "1"),
        ("light/b.avi", "dark", "0"),
    ]
    [bad] = csv.DictReader((out / "bad.csv").open())
    assert bad["name"] == "dark/broken.mp4" and bad["reason"]
    report = (out / "report.md").read_text()
    assert report.startswith("# Evaluation on the videos of mine\n")
    assert "1 of 4 videos cannot be decoded" in report and "| trained in | not known |" in report
    # The training videos are not known: two of these three are called light.
    assert "no class has more of these videos than 'light'" in report
    assert metrics["baselines"]["majority"] == {"class": "light", "accuracy": pytest.approx(2 / 3)}
    # The same videos again replace it; others do not.
    measure(videos, "data.max_bad=0.25", folder=out)
    with pytest.raises(KrespError, match=r"holds the report on .*mine; give another --out"):
        check_folder(out, tmp_path / "other")


def test_too_many_bad_videos_fail_and_say_what_to_do(videos, tmp_path):
    with pytest.raises(KrespError, match=r"1 of 4 videos.*1\.00%.*dark/broken\.mp4.*--set data\.max_bad=0\.25"):
        measure(videos, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for path in videos.rglob("*.*"):
        path.write_bytes(b"no video")
    with pytest.raises(KrespError, match="none of 4 videos can be decoded, such as dark/broken"):
        measure(videos, "data.max_bad=0.9")


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def listed(videos, *overrides, **options):
    entries, left = labelled_videos(videos_config(videos, overrides), INFO.labels, **options)
    return [entry.name for entry in entries], left


def test_classes_that_the_network_does_not_know_are_named_or_left_out(tmp_path):
    folder = touch(tmp_path / "v", "light/a.mp4", "Dark/b.mp4", "Dark/c.mp4", "odd/d.mp4")
    with pytest.raises(
        UsageError,
        match=r"2 classes .*\(Dark, odd; it knows dark, light, none\); 'Dark' may be 'dark': .*3 videos.*--skip-un",
    ):
        listed(folder)
    assert listed(folder, skip_unknown=True) == (["light/a.mp4"], {"Dark": 2, "odd": 1})
    assert listed(folder, "data.classes=[light, odd]", skip_unknown=True) == (["light/a.mp4"], {"odd": 1})
    with pytest.raises(KrespError, match="no video of a class that the network knows"):
        listed(touch(tmp_path / "w", "odd/d.mp4"), skip_unknown=True)


def test_a_table_and_folders_say_their_splits(tmp_path):
    folder = touch(tmp_path / "v", "train/light/a.mp4", "test/light/b.mp4", "test/dark/c.mp4")
    assert listed(folder, split="test")[0] == ["test/dark/c.mp4", "test/light/b.mp4"]
    # One class is enough, and so is one video.
    table = folder / "mine.csv"
    table.write_text("path,label,mark\ntrain/light/a.mp4,light,test\ntest/dark/c.mp4,dark,\n")
    assert listed(table, "data.split_column=mark", split="test")[0] == ["train/light/a.mp4"]
    assert len(listed(table)[0]) == 2
    with pytest.raises(KrespError, match="no validation videos"):
        listed(folder, split="validation")


@pytest.mark.parametrize("override", ["data.fps=30", "model.size=32", "data.videos=other", "data.max_bad=2"])
def test_what_says_nothing_of_such_videos_is_refused(tmp_path, override):
    with pytest.raises(UsageError, match=override.split("=")[0]):
        videos_config(tmp_path, [override])


def test_the_limits_of_decoding_are_the_runs(tmp_path):
    values = {"data": {"max_bad": 0.5, "time_limit": 7, "fps": 30, "classes": ["a", "b"]}}
    config = videos_config(tmp_path, [], RunFolder.create(tmp_path / "run", parse_config(values, "the test")))
    assert (config.max_bad, config.time_limit, config.fps, config.classes) == (0.5, 7, 15, None)


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    touch(tmp_path / "out", "notes.txt")
    with pytest.raises(KrespError, match=r"no part of a report \(notes\.txt\)"):
        check_folder(tmp_path / "out", tmp_path)


@pytest.fixture(scope="module")
def new_videos(tiny_config, tmp_path_factory):
    """Two videos of each of two classes that the trained run knows, under other names, and one of another class."""
    source, folder = Path(tiny_config["data"]["videos"]), tmp_path_factory.mktemp("new") / "mine"
    for label in ("bend", "walk"):
        (folder / label).mkdir(parents=True)
        for number, video in enumerate(sorted((source / label).iterdir())[:2]):
            shutil.copy(video, folder / label / f"new{number}.mp4")
    return folder


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_a_run_is_measured_and_its_own_report_stays(trained_run, new_videos, tmp_path, capsys):
    run = shutil.copytree(trained_run, tmp_path / "run")
    before = contents(run)
    assert main(["evaluate", str(run), "--videos", str(new_videos), "--json", str(tmp_path / "found.json")]) == 0
    out, err = capsys.readouterr()
    assert "videos of mine, 3 classes" in out and "names of videos" not in err
    after = contents(run)
    folder = run / "evaluation-videos-mine"
    assert {path: after[path] for path in before} == before
    assert all(path.parts[0] == folder.name for path in after.keys() - before.keys())
    found = json.loads((folder / "metrics.json").read_text())
    assert found == json.loads((tmp_path / "found.json").read_text()) and found["videos"] == 4
    assert found["clips"] == 8
    # As `predict` has it, one video at a time.
    network = kresp3d.load(run)
    rows = list(csv.DictReader((folder / "predictions.csv").open()))
    assert [row["name"] for row in rows] == ["bend/new0.mp4", "bend/new1.mp4", "walk/new0.mp4", "walk/new1.mp4"]
    for row in rows:
        one = network.predict(new_videos / row["name"])
        assert (row["predicted"], float(row["score"])) == (one.label, pytest.approx(one.score, abs=2e-6))
    right = [row["predicted"] == row["label"] for row in rows]
    assert found["video_top1"] == np.mean(right)
    # In Python, and with the same figures.
    again = network.evaluate(new_videos)
    assert json.loads(json.dumps(again.to_json())) == found and not (tmp_path / "mine").exists()
    assert network.evaluate(new_videos, clips=3, out=tmp_path / "three").evaluation.clips == 12
    assert (tmp_path / "three" / "report.md").is_file()


def test_videos_of_the_training_are_told_by_their_content_and_by_their_names(
    trained_run, tiny_config, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr("kresp3d.evaluation.new_videos.logger.propagate", True)
    network = kresp3d.load(trained_run)
    with (trained_run / "catalog.csv").open() as file:
        # By the validation videos the best epoch was chosen.
        used = ("train", "validation") if RunFolder(trained_run).config.training.keep == "best" else ("train",)
        known = {row["name"]: row["label"] for row in csv.DictReader(file) if row["split"] in used}
    network.evaluate(tiny_config["data"]["videos"], clips=1, out=tmp_path / "out")
    sentence = f"{len(known)} of these 24 videos, such as {next(iter(known))}, have the content of"
    report = (tmp_path / "out" / "report.md").read_text()
    assert sentence in caplog.text and sentence in report and "have the names" not in report
    assert "by name and by content" in report
    # One under another name, and one under the name of another.
    source, (first, second, *_) = Path(tiny_config["data"]["videos"]), known
    for name, label in ((first, known[first]), (second, known[second])):
        (tmp_path / "mine" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, tmp_path / "mine" / label / f"renamed_{Path(name).name}")
    test = next(path for path in sorted(source.rglob("*.mp4")) if path.relative_to(source).as_posix() not in known)
    shutil.copy(test, tmp_path / "mine" / first)
    caplog.clear()
    network.evaluate(tmp_path / "mine", clips=1)
    assert "2 of these 3 videos, such as " in caplog.text and f"({first}), have the content of" in caplog.text
    assert f"1 of these 3 videos, such as {first}, have the names of" in caplog.text


def test_an_exported_file_without_its_run_and_without_tensorflow(exported_run, new_videos, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed; pip install kresp3d[litert]")
    file = shutil.copy(next(exported_run.glob("*.tflite")), tmp_path / "network.tflite")
    script = (
        "import sys\nfrom kresp3d.cli.main import main\n"
        f"code = main(['evaluate', {str(file)!r}, '--videos', {str(new_videos)!r}])\n"
        "assert 'tensorflow' not in sys.modules\nsys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "network.tflite-evaluation-videos-mine" / "report.md").read_text()
    assert "litert, int8" in report and "| trained in | not known |" in report


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--skip-unknown"], 2, "are for --videos"),
        (["--videos", "VIDEOS", "--run", "RUN"], 2, "exclude each other"),
        (["--videos", "NOTHING"], 2, "does not exist"),
        (["--videos", "VIDEOS", "--out", "RUN"], 1, "no part of a report"),
        (["--videos", "VIDEOS", "--set", "data.fps=3"], 2, "data.fps"),
    ],
)
def test_mistakes_get_a_sentence(trained_run, new_videos, tmp_path, words, code, expected, capsys):
    paths = {"VIDEOS": new_videos, "RUN": trained_run, "NOTHING": tmp_path / "NOTHING"}
    capsys.readouterr()
    assert main(["evaluate", str(trained_run), *(str(paths.get(word, word)) for word in words)]) == code
    err = capsys.readouterr().err
    assert expected in err.splitlines()[-1] and "Traceback" not in err

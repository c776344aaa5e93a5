"""The public Python API, by `import kresp3d` alone, on the tiny run that other tests use too."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tracemalloc
from decimal import Decimal
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from rich.console import Console

import kresp3d
from kresp3d.cli.main import main

FRAMES = np.zeros((3, 8, 8, 3), np.uint8)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(trained_run):
    return kresp3d.load(trained_run)


@pytest.fixture(scope="module")
def videos(tiny_config):
    """Three videos, one of each class."""
    return [sorted((Path(tiny_config["data"]["videos"]) / label).iterdir())[0] for label in ("bend", "jump", "walk")]


def python(folder, *words):
    """Run Python in a folder, as a user does."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_the_package_is_imported_at_once_and_without_its_libraries(tmp_path):
    code = """
import sys, time
start = time.process_time()
import kresp3d
assert set(kresp3d.__all__) <= set(dir(kresp3d))
taken = time.process_time() - start
heavy = {"tensorflow", "keras", "pydantic", "numpy", "av", "yaml", "rich", "click"} & set(sys.modules)
assert not heavy, heavy
assert taken < 0.1, taken
"""
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_no_other():
    has_layers = find_spec("kresp3d.nn") is not None
    for name in kresp3d.__all__:
        if has_layers or name not in ("P3DResNet", "layers"):
            assert getattr(kresp3d, name) is getattr(kresp3d, name)
    assert kresp3d.Run.__name__ == "Run" and issubclass(kresp3d.VideoError, kresp3d.KrespError)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kresp3d.nothing


def test_a_run_says_what_it_knows(run, trained_run):
    assert run.path == trained_run
    assert run.labels == ("bend", "jump", "walk")
    assert run.clip.shape == (5, 16, 16, 3) and run.clip.fps == 15
    # evaluation.clips of its configuration.
    assert run.clips == 2
    assert run.metrics == json.loads((trained_run / "metrics.json").read_text())
    assert str(trained_run) in repr(run)


def test_predictions_are_those_of_the_command(run, trained_run, videos, tmp_path):
    file = tmp_path / "scores.json"
    assert main(["predict", str(trained_run), *map(str, videos), "--clips", "4", "--json", str(file)]) == 0
    found = run.predict(videos, clips=4)
    assert [str(each.path) for each in found] == [str(path) for path in videos]
    for each, row in zip(found, json.loads(file.read_text()), strict=True):
        assert [(top["class"], top["score"]) for top in row["top"]] == list(each.scores.items())
        assert (each.label, each.score) == (row["top"][0]["class"], row["top"][0]["score"])


def test_one_video_in_whatever_way_it_is_named_gives_the_same(run, videos, monkeypatch):
    [expected] = run.predict([videos[0]])
    assert isinstance(expected, kresp3d.Prediction)
    assert sum(expected.scores.values()) == pytest.approx(1, abs=1e-6)
    assert set(expected.scores) == set(run.labels)
    assert run.predict(videos[0]) == run.predict(str(videos[0])) == expected
    # The process that decodes was started elsewhere.
    monkeypatch.chdir(videos[0].parent)
    assert run.predict(videos[0].name).scores == expected.scores


def test_scores_are_the_mean_probabilities_of_the_clips_that_read_clips_cuts(run, videos):
    clips = kresp3d.read_clips(str(videos[1]), run.clip)
    assert clips.shape == (10, 5, 16, 16, 3) and clips.dtype == np.uint8
    scores = run.probabilities(clips)
    assert scores.shape == (10, 3) and scores.dtype == np.float32
    # Batches of 4, which is this network's size, and of 1 give the same.
    np.testing.assert_allclose(scores, np.concatenate([run.probabilities(clip[None]) for clip in clips]), atol=1e-6)
    found = run.predict(videos[1], clips=10).scores
    np.testing.assert_allclose([found[label] for label in run.labels], scores.mean(axis=0), atol=1e-6)
    own = run.probabilities(kresp3d.read_clips(videos[1], run.clip, clips=run.clips)).mean(axis=0)
    found = run.predict(videos[1]).scores
    np.testing.assert_allclose([found[label] for label in run.labels], own, atol=1e-6)


@pytest.mark.parametrize("fps", [10, 15, 25])
def test_frames_give_the_scores_of_a_video_file_with_them(run, make_video, tmp_path, fps):
    # Larger than the 32 pixels to which frames are brought, and lossless.
    frames = np.random.default_rng(0).integers(0, 256, (40, 60, 80, 3), np.uint8)
    video = make_video(tmp_path / "v.mkv", frames, fps=fps, codec="ffv1", pix_fmt="bgr0")
    found = run.predict(frames, fps=fps, clips=3)
    assert found.scores == run.predict(video, clips=3).scores
    assert found.path is None
    assert found.scores != run.predict(frames, fps=3 * fps, clips=3).scores


def test_a_bad_file_stands_in_its_place_and_costs_no_other(run, videos, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video" * 99)
    missing = tmp_path / "missing.mp4"
    found = run.predict([videos[0], bad, missing, videos[1]])
    assert [type(each) for each in found] == [
        *(kresp3d.Prediction, kresp3d.VideoError, kresp3d.VideoError, kresp3d.Prediction),
    ]
    assert [Path(each.path) for each in found] == [videos[0], bad, missing, videos[1]]
    assert found[3] == run.predict(videos[1])
    for path in (bad, missing):
        with pytest.raises(kresp3d.VideoError, match=path.name):
            run.predict(path)
    # Which is no end of the process that decodes.
    assert run.predict(videos[0]) == found[0]


def test_a_folder_gives_a_list_of_its_videos(run, videos, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(videos[0], tmp_path / "b.mp4")
    shutil.copy(videos[1], tmp_path / "in" / "a.mp4")
    (tmp_path / "notes.txt").write_text("no video")
    found = run.predict(tmp_path)
    assert [each.path for each in found] == [tmp_path / "b.mp4", tmp_path / "in" / "a.mp4"]
    assert found[0].scores == run.predict(videos[0]).scores
    assert [each.path for each in run.predict([tmp_path / "in"])] == [tmp_path / "in" / "a.mp4"]
    assert run.predict([]) == []


def test_predictions_come_one_by_one(run, videos):
    found = run.predict_each(iter(videos * 3))
    assert next(found) == run.predict(videos[0])
    assert next(found) == run.predict(videos[1])
    found.close()
    with pytest.raises(kresp3d.UsageError, match="clips"):
        run.predict_each(videos, clips=0)


@pytest.mark.parametrize("name", [".", "tiny.xml", "tiny.onnx", "tiny-int8.tflite"])
def test_every_export_is_loaded(exported_run, run, videos, name):
    path = exported_run / name
    if not path.exists():
        pytest.skip(f"no engine for {path.suffix} is installed")
    exported = kresp3d.load(str(path))
    assert (exported.labels, exported.clip, exported.metrics) == (run.labels, run.clip, None)
    found, expected = exported.predict(videos[2]), run.predict(videos[2])
    for label, score in expected.scores.items():
        assert found.scores[label] == pytest.approx(score, abs=0.15 if "int8" in name else 1e-4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda run: run.predict(np.zeros((3, 8, 8, 3), np.uint8)), "fps"),
        (lambda run: run.predict(np.zeros((3, 8, 8, 3), np.uint8), fps=0), "received 0"),
        (lambda run: run.predict(np.zeros((3, 8, 8, 3)), fps=25), "received float64 [3, 8, 8, 3]"),
        (lambda run: run.predict(np.zeros((8, 8, 3), np.uint8), fps=25), "received uint8 [8, 8, 3]"),
        (lambda run: run.predict(np.zeros((0, 8, 8, 3), np.uint8), fps=25), "received uint8 [0, 8, 8, 3]"),
        (lambda run: run.predict(np.zeros((3, 3, 8, 8), np.uint8), fps=25), "[N, H, W, 3]"),
        (lambda run: run.predict(FRAMES, fps=1e-9), "at least 0.1; received 1e-09"),
        (lambda run: run.predict(FRAMES, fps="25"), "at least 0.1; received '25'"),
        (lambda run: run.predict(FRAMES, fps=Decimal(25)), "at least 0.1; received Decimal"),
        (lambda run: run.predict(FRAMES, fps=True), "at least 0.1; received True"),
        (lambda run: run.predict(FRAMES, fps=float("nan")), "at least 0.1; received nan"),
        (lambda run: run.predict(FRAMES, fps=25, clips=1.5), "clips must be a whole number"),
        (lambda run: run.predict(list(FRAMES), fps=25), "np.stack(frames)"),
        (lambda run: run.predict(tf.constant(FRAMES), fps=25), "np.stack(frames)"),
        (lambda run: run.predict(tf.constant(FRAMES)), "np.stack(frames)"),
        (lambda run: run.predict(np.array(["a.mp4"])), "received <U5 [1]; several paths are a list"),
        (lambda run: run.predict(b"video.mp4"), "received bytes"),
        (lambda run: run.predict([b"video.mp4"]), "received one bytes"),
        (lambda run: run.predict(["video.mp4"], fps=25), "fps=25 is for frames"),
        (lambda run: run.predict("video.mp4", clips=1.5), "clips must be a whole number of at least 1, received 1.5"),
        (lambda run: run.predict("video.mp4", clips="3"), "received '3'"),
        (lambda run: run.predict("video.mp4", clips=float("nan")), "received nan"),
        (lambda run: run.predict("video.mp4", clips=True), "received True"),
        (lambda run: run.predict([np.zeros((8, 8, 3), np.uint8)]), "one ndarray"),
        (lambda run: run.predict(7), "received int"),
        (lambda run: run.predict("video.mp4", fps=25), "fps=25 is for frames"),
        (lambda run: run.predict("video.mp4", clips=0), "clips must be a whole number of at least 1"),
        (lambda run: run.predict("s3://bucket/video.mp4"), "object store"),
        (lambda run: run.probabilities(np.zeros((2, 5, 16, 16, 3))), "received float64 [2, 5, 16, 16, 3]"),
        (lambda run: run.probabilities(np.zeros((0, 5, 16, 16, 3), np.uint8)), "at least 1"),
        (lambda run: run.probabilities(np.zeros((5, 16, 16, 3), np.uint8)), "received uint8 [5, 16, 16, 3]"),
        (lambda run: run.probabilities([]), "received float64 [0]"),
        (lambda run: kresp3d.read_clips("video.mp4", run.clip, clips=0), "clips must be a whole number of at least 1"),
        (lambda run: kresp3d.read_clips("video.mp4", run), "expected clip= a ClipFormat"),
        (lambda run: kresp3d.load("nowhere"), "nowhere does not exist"),
        (lambda run: kresp3d.load("x" * 300), "cannot be opened (File name too long)"),
        (lambda run: kresp3d.load(None), "expected the path of a run folder or of an exported network, received None"),
        (lambda run: kresp3d.load(5), "received 5"),
        (lambda run: kresp3d.load(b"base"), "received b'base'"),
        (lambda run: kresp3d.load(run.path / "model.keras"), "the run folder around it, "),
        (lambda run: kresp3d.train(), "expected a configuration"),
        (lambda run: kresp3d.train({}, {"training.epoch": 3}), "training.epochs"),
        (lambda run: kresp3d.train({}, out=run.path), "holds a run already"),
        (lambda run: kresp3d.train(5), "expected a configuration: a YAML file"),
        (lambda run: kresp3d.train(b"base"), "received b'base'"),
        (lambda run: kresp3d.train("x" * 300), "configuration file not found"),
        (lambda run: kresp3d.train("base", 5), "expected overrides as keys with values"),
        (lambda run: kresp3d.train("base", [5]), "received 5"),
        (lambda run: kresp3d.train("base", "training.epoch=3"), "did you mean 'training.epochs'?"),
        (lambda run: kresp3d.train({}, out=5), "expected the path of a run folder as out= (--out), received 5"),
        (lambda run: kresp3d.train({}, out="/proc/x"), "cannot write into /proc/x: No such file or directory; give"),
        (lambda run: kresp3d.train({}, until=0), "until (--until) must be a whole number of at least 1, received 0"),
        (lambda run: kresp3d.train({}, until="1"), "until (--until) must be a whole number of at least 1"),
        (lambda run: kresp3d.train({}, resume=True, overwrite=True), "resume=True (--resume) and overwrite=True"),
        (lambda run: kresp3d.train(resume=True), "resume=True (--resume) with a run folder as out= (--out)"),
    ],
)
def test_wrong_input_gets_a_sentence(run, call, words):
    with pytest.raises(kresp3d.KrespError, match=re.escape(words)) as caught:
        call(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a\0b.mp4", "x" * 300 + ".mp4", "\ud800.mp4"])
def test_a_path_that_cannot_be_costs_no_other(run, videos, name):
    found = run.predict([videos[0], name, videos[1]])
    assert [type(each) for each in found] == [kresp3d.Prediction, kresp3d.VideoError, kresp3d.Prediction]
    assert found[1].path == name and "\n" not in str(found[1])
    with pytest.raises(kresp3d.VideoError):
        run.predict(name)


def test_a_relative_path_in_a_folder_that_was_deleted_costs_no_other(run, videos, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    found = run.predict(["a.mp4", videos[0]])
    assert isinstance(found[0], kresp3d.VideoError) and "working directory" in found[0].reason
    assert found[1] == run.predict(videos[0])
    with pytest.raises(kresp3d.VideoError, match=r"^a\.mp4: "):
        run.predict("a.mp4")


def test_frames_that_are_held_long_are_not_copied(run):
    # 10 s each at 15 frames per second: 6,000 frames as the network sees them, of 768 bytes each.
    frames = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    tracemalloc.start()
    scores = run.predict(frames, fps=Fraction(1, 10), clips=2).scores
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2e6
    # The first clip sees the first frame alone. The second one sees the last once, and the one before it.
    clips = np.stack([frames[[0] * 5], frames[[38] * 4 + [39]]])
    expected = run.probabilities(clips).mean(axis=0)
    np.testing.assert_allclose([scores[label] for label in run.labels], expected, atol=1e-6)


def test_predictions_are_told_apart_in_sets(run, videos):
    found = run.predict([videos[0], videos[0], videos[1]])
    assert len(set(found)) == 2 and hash(found[0]) == hash(found[1])


def test_a_copy_of_a_run_is_loaded_from_its_path(run, trained_run, exported_run, videos):
    expected = run.predict(videos[0]).scores
    for copied in (copy.copy(run), copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
        assert copied is not run and copied.path == trained_run
        assert copied.predict(videos[0]).scores == expected
    if (exported_run / "tiny.xml").exists():
        exported = kresp3d.load(exported_run / "tiny.xml", precision="float32", threads=1)
        again = pickle.loads(pickle.dumps(exported))
        assert (again.path, again._precision, again._threads) == (exported_run / "tiny.xml", "float32", 1)
    half = pickle.loads(pickle.dumps(kresp3d.load(trained_run, precision="bfloat16")))
    clips = np.random.default_rng(0).integers(0, 256, (3, 5, 16, 16, 3), np.uint8)
    assert half._precision == "bfloat16"
    assert 1e-6 < np.abs(half.probabilities(clips) - run.probabilities(clips)).max() < 0.1


def test_damaged_metrics_get_a_sentence(trained_run, tmp_path):
    copied = kresp3d.load(shutil.copytree(trained_run, tmp_path / "run"))
    (tmp_path / "run" / "metrics.json").write_text("{")
    with pytest.raises(kresp3d.KrespError, match=r"metrics\.json is damaged"):
        _ = copied.metrics
    (tmp_path / "run" / "metrics.json").unlink()
    assert copied.metrics is None


def test_training_gives_the_run_that_it_leaves(tiny_config, videos, tmp_path, capsys):
    out = tmp_path / "run"
    run = kresp3d.train(
        tiny_config, {"training.epochs": 2, "model.blocks": [1]}, out=out, until=1, console=Console(quiet=True)
    )
    assert capsys.readouterr() == ("", "")
    assert run.path == out and run.metrics["videos"] == 6
    assert len(run.predict(videos)) == 3
    assert run.predict(videos[0]).scores == kresp3d.load(out).predict(videos[0]).scores

    printed = Console(file=io.StringIO(), width=120)
    kresp3d.train(out=str(out), resume=True, console=printed)
    assert "resuming after epoch 1" in printed.file.getvalue() and "test split" in printed.file.getvalue()
    assert len((out / "history.csv").read_text().splitlines()) == 1 + 2


@pytest.fixture
def home(trained_run, videos, tiny_config, tmp_path):
    """A folder with the files that the documentation names."""
    shutil.copytree(trained_run, tmp_path / "runs" / "base")
    for name, video in zip(("video.mp4", "a.mp4", "b.mp4"), videos, strict=True):
        shutil.copy(video, tmp_path / name)
    (tmp_path / "new_videos" / "walk").mkdir(parents=True)
    shutil.copy(videos[2], tmp_path / "new_videos" / "walk")
    # A file comes before a name.
    (tmp_path / "base").write_text(yaml.safe_dump(tiny_config))
    return tmp_path


SNIPPETS = [
    pytest.param(snippet, id=f"{page}-{number}")
    for page in ("README.md", "docs/python.md")
    for number, snippet in enumerate(
        re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL), 1
    )
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_the_snippets_of_the_documentation_run_as_scripts(snippet, home):
    (home / "script.py").write_text(snippet)
    done = python(home, "script.py")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if "P3DResNet" in snippet:
        return
    last = done.stdout.splitlines()[-1]
    if "train(" in snippet or "evaluate(" in snippet:
        assert 0 <= float(last) <= 1
    elif "probabilities" in snippet:
        assert last.startswith("[0.") and done.stdout.splitlines()[0].split()[0] in ("bend", "jump", "walk")
    else:
        assert last.split()[0] in ("bend", "jump", "walk")


def test_a_script_without_a_guard_renders_the_embedded_videos(home):
    # By several processes, as training does at first.
    script = """
from pathlib import Path
import kresp3d
from kresp3d.config.schema import SyntheticConfig
from kresp3d.datasets.synthetic.dataset import write_dataset
print("once")
write_dataset("set", SyntheticConfig(subjects=3, videos_per_class=1, size=32, seconds=0.2), workers=2)
print(len(list(Path("set").rglob("*.mp4"))))
"""
    (home / "script.py").write_text(script)
    done = python(home, "script.py")
    assert (done.stdout, done.stderr) == ("once\n30\n", "")

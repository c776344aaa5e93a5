"""The script of docs/without-kresp3d.md gives the probabilities of `kresp3d predict`, without kresp3d."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "without-kresp3d.md"

#: Name -> arguments of `make_video`; the network takes clips of 5 frames at 15 fps, 16×16 pixels of short side 32.
VIDEOS = {
    "30fps.mp4": {"count": 90, "fps": 30, "size": (64, 48)},
    "25fps.mkv": {"count": 40, "fps": 25, "size": (98, 70)},
    "24fps.avi": {"count": 31, "fps": 24, "size": (58, 82)},
    "shorter_than_a_clip.mp4": {"count": 4, "fps": 30, "size": (64, 48)},
    "one_frame.mp4": {"count": 1, "fps": 25, "size": (64, 48)},
    "odd_size.mp4": {"count": 25, "fps": 30000 / 1001, "size": (71, 45), "pix_fmt": "yuv444p"},
    "smaller_than_the_records.mp4": {"count": 20, "fps": 15, "size": (26, 20)},
    "smaller_than_the_network.mp4": {"count": 20, "fps": 15, "size": (24, 12)},
    "slow.webm": {"count": 12, "fps": 8, "size": (64, 48)},
    "phone.mp4": {"count": 30, "fps": 25, "size": (64, 48), "rotation": 90},
    "upside_down.mp4": {"count": 30, "fps": 25, "size": (64, 48), "rotation": 180},
}


@pytest.fixture(scope="module")
def videos(make_video, tmp_path_factory):
    """Videos like those of the training: noise, and one colour in one place, now one and then another."""
    folder = tmp_path_factory.mktemp("videos")
    random = np.random.default_rng(1)
    for number, (name, video) in enumerate(VIDEOS.items()):
        width, height = video["size"]
        frames = random.integers(0, 60, (video["count"], height, width, 3), dtype=np.uint8)
        third = width // 3
        for index, frame in enumerate(frames):
            # The colour moves during the video, so that scores depend on which frames make a clip.
            channel = (number + 2 * index // len(frames)) % 3
            frame[:, third * channel : third * channel + third, channel] += 150
        more = {key: value for key, value in video.items() if key not in ("count", "size")}
        make_video(folder / name, frames, **more)
    return folder


@pytest.fixture
def script(tmp_path):
    """The page's script in a folder where neither kresp3d nor what it is made of can be imported."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for package in ("kresp3d", "tensorflow", "keras", "pydantic"):
        (tmp_path / f"{package}.py").write_text(f"raise ImportError('there is no {package} here')\n")
    (tmp_path / "recognise.py").write_text(code, encoding="utf-8")
    return tmp_path / "recognise.py"


@pytest.fixture(scope="module")
def networks(trained_run, exported_run, tmp_path_factory):
    """The exported files of the run, by format: float32 and int8 of LiteRT, and ONNX."""
    from kresp3d.cli.main import main

    folder = tmp_path_factory.mktemp("float32")
    assert main(["export", str(trained_run), "--format", "litert", "--quantize", "none", "--to", str(folder)]) == 0
    (float32,), (int8,), (onnx,) = (
        list(place.glob(pattern))
        for place, pattern in ((folder, "*.tflite"), (exported_run, "*int8.tflite"), (exported_run, "*.onnx"))
    )
    return {"litert": float32, "litert-int8": int8, "onnx": onnx}


def recognise(script, network, video):
    """What the script prints: class -> probability, in its order."""
    command = [sys.executable, script.name, str(network), str(video)]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    return {label: float(score) for score, _, label in lines}


@pytest.mark.parametrize("kind", ["litert", "litert-int8", "onnx"])
def test_it_gives_the_probabilities_of_predict(kind, networks, videos, script):
    import kresp3d

    run = kresp3d.load(networks[kind])
    seen = set()
    for name in VIDEOS:
        expected = run.predict(videos / name)
        found = recognise(script, networks[kind], videos / name)
        assert next(iter(found)) == expected.label, name
        assert found == pytest.approx(expected.scores, abs=0.01), name
        seen.add(expected.label)
    # Else any script would do.
    assert len(seen) > 1


def test_kresp3d_cannot_be_imported_where_it_runs(script):
    for package in ("kresp3d", "tensorflow"):
        command = [sys.executable, "-c", f"import {package}"]
        done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and f"there is no {package} here" in done.stderr


def test_videos_give_different_scores(networks, videos):
    import kresp3d

    run = kresp3d.load(networks["litert"])
    scores = np.array([[run.predict(videos / name).scores[label] for label in run.labels] for name in VIDEOS])
    # Far more than what the script may differ by.
    assert np.ptp(scores, axis=0).min() > 0.2

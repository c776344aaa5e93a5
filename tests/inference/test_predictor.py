"""Class scores of whole videos, with an engine that tells brightness."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kresp3d.api.run import Run
from kresp3d.clips.clip_format import ClipFormat
from kresp3d.inference.engine import Engine
from kresp3d.inference.predictor import find_all
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.system.errors import KrespError, VideoError

CLIP = ClipFormat(frames=4, step=1, size=16, frame_stride=1, fps=15, short_side=32)
INFO = NetworkInfo(name="brightness", format="keras", labels=("light", "dark", "none"), clip=CLIP, clips=4, source="")


class Brightness(Engine):
    """Scores (b, 1 - b, 0) for the mean brightness b of a clip."""

    def __init__(self):
        super().__init__(INFO, batch_size=3)
        self.batches = []

    def _score(self, frames):
        self.batches.append(len(frames))
        mean = frames.reshape(len(frames), -1).mean(axis=1) / 255
        return np.stack([mean, 1 - mean, 0 * mean], axis=1).astype(np.float32)


def test_scores_are_the_mean_over_clips_best_first(make_video, tmp_path):
    levels = np.linspace(0, 120, 40).astype(np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (40, 40, 48, 3)).copy()
    video = make_video(tmp_path / "v.mp4", frames, fps=15)
    engine = Brightness()
    found = Run(engine, tmp_path).predict(video, clips=4)
    assert engine.batches == [3, 1]
    starts = np.rint(np.linspace(0, 35, 4)).astype(int)
    expected = np.mean([levels[s : s + 5].mean() / 255 for s in starts])
    assert list(found.scores) == ["dark", "light", "none"]
    assert list(found.scores.values()) == pytest.approx([1 - expected, expected, 0], abs=0.02)
    assert (found.label, found.score, found.path) == ("dark", found.scores["dark"], video)


def test_a_video_that_cannot_be_decoded_is_named(tmp_path):
    path = tmp_path / "bad.mp4"
    path.write_bytes(b"no video" * 99)
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        Run(Brightness(), tmp_path).predict(path, clips=1)


def test_what_has_a_videos_name_is_answered_whatever_it_is(tmp_path):
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "link.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    found = [tmp_path / "device.mp4", tmp_path / "fifo.mp4", tmp_path / "link.mp4"]
    assert find_all([tmp_path]) == found
    assert find_all(found) == found


def test_folders_give_their_videos_at_any_depth_and_files_are_taken_as_they_are(tmp_path):
    names = ["z.bin", "in/b.mp4", "in/deep/er/a.AVI", "in/notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_all([tmp_path / "z.bin", tmp_path / "in"])
    assert found == [tmp_path / "z.bin", tmp_path / "in/b.mp4", tmp_path / "in/deep/er/a.AVI"]
    with pytest.raises(KrespError, match="holds no video"):
        (tmp_path / "empty").mkdir()
        find_all([tmp_path / "empty"])
    with pytest.raises(KrespError, match="does not exist"):
        find_all([Path("nowhere")])


@pytest.mark.parametrize("name", ["tiny.xml", "tiny.onnx", "tiny-int8.tflite"])
def test_other_engines_predict_without_tensorflow_which_takes_seconds_to_import(
    exported_run, make_video, tmp_path, name
):
    path = exported_run / name
    if not path.exists():
        pytest.skip(f"no engine for {path.suffix} is installed")
    program = """
import sys
from kresp3d.cli.main import main
code = main(["predict", *sys.argv[1:]])
print(code, sorted({"tensorflow", "keras", "matplotlib", "scipy"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), str(make_video(tmp_path / "v.mp4"))],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr

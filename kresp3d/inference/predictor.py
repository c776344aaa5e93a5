"""Class scores of whole videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.data.catalog import VIDEO_SUFFIXES
from kresp3d.data.video_clips import read_clips
from kresp3d.data.workers import Decode, decode_here
from kresp3d.errors import KrespError
from kresp3d.inference.engine import Engine
from kresp3d.text import utf8


@dataclass(frozen=True)
class Prediction:
    """The best classes of a video with their scores, best first."""

    path: Path
    classes: tuple[str, ...]
    scores: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "path": utf8(self.path),
            "top": [{"class": c, "score": s} for c, s in zip(self.classes, self.scores, strict=True)],
        }


def video_probabilities(
    engine: Engine, path: Path, *, clips: int, decode: Decode = decode_here
) -> npt.NDArray[np.float64]:
    """Mean softmax scores `[classes]` of clips spread uniformly over a video, as in evaluation.

    Args:
        engine: The network.
        path: The video.
        clips: Number of clips.
        decode: Where the video is decoded: by default in this process; a `DecoderProcess` for files of strangers.

    Raises:
        VideoError: If the video cannot be decoded.
    """
    cut = read_clips(path, engine.info.clip, clips=clips, decode=decode)
    size = engine.batch_size
    scores = [engine.probabilities(cut[start : start + size]) for start in range(0, len(cut), size)]
    mean: npt.NDArray[np.float64] = np.concatenate(scores).astype(np.float64).mean(axis=0)
    return mean


def predict_video(engine: Engine, path: Path, *, clips: int, top: int, decode: Decode = decode_here) -> Prediction:
    """Name the action in a video; see `video_probabilities`.

    Raises:
        VideoError: If the video cannot be decoded.
    """
    scores = video_probabilities(engine, path, clips=clips, decode=decode)
    best = np.argsort(-scores, kind="stable")[:top]
    return Prediction(path, tuple(engine.info.labels[i] for i in best), tuple(float(scores[i]) for i in best))


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and the videos in the folders among them, at any depth and in order.

    Raises:
        KrespError: If a path does not exist or a folder holds no video.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
            if not inside:
                raise KrespError(
                    f"{path} holds no video (expected names ending in {', '.join(sorted(VIDEO_SUFFIXES))})"
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise KrespError(f"{path} does not exist; expected a video or a folder of videos")
    return found

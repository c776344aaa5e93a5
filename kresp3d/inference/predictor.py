"""Class scores of whole videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.data.tree import VIDEO_SUFFIXES, find_videos
from kresp3d.data.video_clips import read_clips
from kresp3d.data.workers import Decode, VideoWorkers, decode_here
from kresp3d.errors import KrespError, VideoError
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
    return mean_scores(engine, read_clips(path, engine.info.clip, clips=clips, decode=decode))


def predict_video(engine: Engine, path: Path, *, clips: int, top: int, decode: Decode = decode_here) -> Prediction:
    """Name the action in a video; see `video_probabilities`.

    Raises:
        VideoError: If the video cannot be decoded.
    """
    return _best(engine, path, video_probabilities(engine, path, clips=clips, decode=decode), top)


def predict_videos(
    engine: Engine, paths: Sequence[Path], workers: VideoWorkers, *, clips: int, top: int
) -> Iterator[Prediction | VideoError]:
    """Name the actions in videos, which are decoded in other processes while the network scores those before.

    Args:
        engine: The network.
        paths: The videos.
        workers: What decodes them.
        clips: Number of clips of each.
        top: Number of classes.

    Yields:
        What was found in each video, or why it cannot be decoded, in the order of `paths`.
    """
    read = partial(read_clips, clip=engine.info.clip, clips=clips)
    for path, cut in zip(paths, workers.map(read, paths), strict=True):
        yield cut if isinstance(cut, VideoError) else _best(engine, path, mean_scores(engine, cut), top)


def mean_scores(engine: Engine, clips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Mean softmax scores `[classes]` of a video's clips, uint8 `[N, T+s, S, S, 3]`."""
    size = engine.batch_size
    scores = [engine.probabilities(clips[start : start + size]) for start in range(0, len(clips), size)]
    mean: npt.NDArray[np.float64] = np.concatenate(scores).astype(np.float64).mean(axis=0)
    return mean


def _best(engine: Engine, path: Path, scores: npt.NDArray[np.float64], top: int) -> Prediction:
    best = np.argsort(-scores, kind="stable")[:top]
    return Prediction(path, tuple(engine.info.labels[i] for i in best), tuple(float(scores[i]) for i in best))


def find_all(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and the videos in the folders among them, as `kresp3d.data.tree.find_videos` has them.

    Raises:
        KrespError: If a path does not exist or a folder holds no video.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = find_videos(path)
            if not inside:
                raise KrespError(
                    f"{path} holds no video (expected names ending in {', '.join(sorted(VIDEO_SUFFIXES))})"
                )
            found += [path / video for video in inside]
        # A link to nowhere is a video that cannot be decoded, as in a folder.
        elif path.exists() or path.is_symlink():
            found.append(path)
        else:
            raise KrespError(f"{path} does not exist; expected a video or a folder of videos")
    return found

"""Class scores of whole videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kresp3d.datasets.readers.folder_tree import VIDEO_SUFFIXES, find_videos
from kresp3d.inference.engine import Engine
from kresp3d.records.video_clips import decode_clips
from kresp3d.system.errors import KrespError, VideoError
from kresp3d.system.storage import reason
from kresp3d.video.workers import Decode, VideoWorkers, decode_here


@dataclass(frozen=True)
class Prediction:
    """The action in a video.

    Attributes:
        label: The best class.
        score: Its probability, 0 to 1.
        scores: Every class with its probability, best first. They sum to 1. Left out of the hash, unlike the others.
        path: The video; `None` where frames were given.
    """

    label: str
    score: float
    scores: dict[str, float] = field(repr=False, hash=False)
    path: Path | None = None

    @classmethod
    def of(cls, labels: Sequence[str], scores: npt.NDArray[np.float64], path: Path | None = None) -> Prediction:
        """From the classes and their probabilities `[classes]`, in the order of the network's outputs."""
        ranked = {labels[index]: float(scores[index]) for index in np.argsort(-scores, kind="stable")}
        label = next(iter(ranked))
        return cls(label, ranked[label], ranked, path)


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
    return mean_scores(engine, decode_clips(path, engine.info.clip, clips=clips, decode=decode))


def predict_videos(
    engine: Engine, paths: Sequence[Path], workers: VideoWorkers, *, clips: int
) -> Iterator[Prediction | VideoError]:
    """Name the actions in videos, which are decoded in other processes while the network scores those before.

    Args:
        engine: The network.
        paths: The videos.
        workers: What decodes them.
        clips: Number of clips of each.

    Yields:
        What was found in each video, or why it cannot be decoded, in the order of `paths`.
    """
    read = partial(decode_clips, clip=engine.info.clip, clips=clips)
    # Absolute, since the processes may have been started in another folder.
    places = [_absolute(path) for path in paths]
    found = workers.map(read, [place for place in places if not isinstance(place, VideoError)])
    for path, place in zip(paths, places, strict=True):
        cut = place if isinstance(place, VideoError) else next(found)
        if isinstance(cut, VideoError):
            yield VideoError(path, cut.reason)
        else:
            yield Prediction.of(engine.info.labels, mean_scores(engine, cut), path)


def _absolute(path: Path) -> Path | VideoError:
    try:
        return path.absolute()
    except OSError as error:
        # The working directory was deleted.
        return VideoError(path, f"the working directory cannot be used ({reason(error)})")


def mean_scores(engine: Engine, clips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Mean softmax scores `[classes]` of a video's clips, uint8 `[N, T+s, S, S, 3]`."""
    mean: npt.NDArray[np.float64] = probabilities(engine, clips).astype(np.float64).mean(axis=0)
    return mean


def probabilities(engine: Engine, clips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Softmax scores of any number of clips, in batches of the size that suits the engine; see `Engine`."""
    engine.check(clips)
    size = engine.batch_size
    return np.concatenate([engine.probabilities(clips[start : start + size]) for start in range(0, len(clips), size)])


def find_all(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and the videos in the folders among them, as `find_videos` has them.

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

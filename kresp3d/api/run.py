"""A trained network as Python code uses it; see `load`."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, overload

import numpy as np
import numpy.typing as npt

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.config.schema import Overrides
from kresp3d.datasets.splits import SPLITS
from kresp3d.inference.engine import Engine, Precision
from kresp3d.inference.open_engine import open_engine
from kresp3d.inference.predictor import Prediction, find_all, mean_scores, predict_videos, probabilities
from kresp3d.records.video_clips import video_clips
from kresp3d.system.arguments import check_path, is_path, real_number, shown, whole_number
from kresp3d.system.errors import KrespError, UsageError, VideoError
from kresp3d.system.storage import local, location
from kresp3d.video.decode import convert_frames
from kresp3d.video.resample import MAX_STEP
from kresp3d.video.workers import VideoWorkers

if TYPE_CHECKING:
    from kresp3d.evaluation.assessment import Assessment

#: What a process that decodes is told to import while this one does something else.
DECODING = ("kresp3d.records.video_clips",)

#: Frames at a lower rate are further apart than those of a file may be, and held as often.
MIN_FPS: Final = 1 / MAX_STEP

_FRAMES = "frames are one array, uint8 [N, H, W, 3], with fps=: np.stack(frames)"


def load(path: str | os.PathLike[str], *, precision: Precision = "float32", threads: int | None = None) -> Run:
    """Load a trained network.

    Examples:
        >>> run = kresp3d.load("runs/base")
        >>> run.predict("video.mp4").label
        'walk'

    Args:
        path: A run folder, or what `kresp3d export` wrote: a SavedModel's folder, or the folder of its versions, of
            which the newest is taken; a `.tflite`, `.xml` or `.onnx` file. Object stores are taken too.
        precision: Of the computation; only run folders and OpenVINO files have a choice.
        threads: Threads that the network may use, 1 to 1024; by default all cores. TensorFlow takes the number once in
            a process, before its first computation.

    Raises:
        UsageError: If an argument is none of these, the network cannot be run in that precision, or TensorFlow computes
            with other threads already.
        KrespError: If the path is none of these, cannot be loaded, or what runs it is not installed.
    """
    check_path(path, "the path of a run folder or of an exported network")
    place = location(path)
    return Run(open_engine(place, precision=precision, threads=threads), place, precision=precision, threads=threads)


class Run:
    """A trained network that names the action in videos. `load` and `kresp3d.train` make it.

    Several threads may use it at once. A copy, or what another process gets, is loaded from its path again.

    Args:
        engine: What runs the network.
        path: Where it is.
        precision: That a copy is loaded with.
        threads: That a copy is loaded with.

    Attributes:
        path: The run folder, or the exported file or folder.
    """

    def __init__(
        self, engine: Engine, path: Path, *, precision: Precision = "float32", threads: int | None = None
    ) -> None:
        self.path = path
        self._engine = engine
        self._precision = precision
        self._threads = threads

    def __reduce__(self) -> tuple[Callable[..., Run], tuple[Path, Precision, int | None]]:
        # Absolute, as another process may run in another folder.
        return _load_again, (self.path.absolute(), self._precision, self._threads)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the columns of `probabilities`."""
        return self._engine.info.labels

    @property
    def clip(self) -> ClipFormat:
        """How clips are cut from a video."""
        return self._engine.info.clip

    @property
    def clips(self) -> int:
        """How many clips of a video `predict` averages unless told otherwise: `evaluation.clips`, 10 by default."""
        return self._engine.info.clips

    @property
    def metrics(self) -> dict[str, Any] | None:
        """What `metrics.json` of the run folder holds; `None` where it was not measured, and for exports.

        Raises:
            KrespError: If the file is damaged.
        """
        file = self.path / "metrics.json"
        if not file.is_file():
            return None
        try:
            metrics: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            raise KrespError(f"{file} is damaged; measure again by `kresp3d evaluate {self.path}`") from None
        return metrics

    # `Any` stands for a folder's list: whoever names one file need not say that it is none.
    @overload
    def predict(  # type: ignore[overload-overlap]  # text is an iterable of text too, but comes first
        self, source: str | os.PathLike[str], *, clips: int | None = None
    ) -> Prediction | Any: ...

    @overload
    def predict(self, source: npt.NDArray[np.uint8], *, fps: float, clips: int | None = None) -> Prediction: ...

    @overload
    def predict(
        self, source: Iterable[str | os.PathLike[str]], *, clips: int | None = None
    ) -> list[Prediction | VideoError]: ...

    def predict(
        self,
        source: str | os.PathLike[str] | npt.NDArray[np.uint8] | Iterable[str | os.PathLike[str]],
        *,
        fps: float | None = None,
        clips: int | None = None,
    ) -> Prediction | list[Prediction | VideoError]:
        """Name the action in a video, or in each of several.

        The scores are those of clips spread uniformly over the video, averaged. Files are decoded in processes of
        their own, which may take 600 seconds and 4 GiB of memory for each.

        Examples:
            >>> run.predict("video.mp4")
            Prediction(label='walk', score=0.93, path=PosixPath('video.mp4'))
            >>> run.predict(frames, fps=25).label
            'walk'
            >>> for found in run.predict(["a.mp4", "b.mp4"]):
            ...     print(found if isinstance(found, kresp3d.VideoError) else found.label)

        Args:
            source: A video file; a folder, for all videos in it; several files and folders; or frames, uint8
                `[N, H, W, 3]`, RGB, which give the scores of a video file with these frames.
            fps: Frames per second of the frames, at least 0.1. A file says its own.
            clips: Number of clips; by default `Run.clips`.

        Returns:
            Of a file or of frames, a `Prediction`. Of a folder or of several files, a list in their order; a file that
            cannot be decoded does not stop the others: its `VideoError` stands in its place.

        Raises:
            VideoError: If a single file cannot be decoded.
            UsageError: If the source, `fps` or `clips` is none of these.
            KrespError: If a folder holds no video.
        """
        if isinstance(source, np.ndarray):
            return self._predict_frames(source, fps, clips)
        paths = [cast(str, source)] if is_path(source) else _paths(source)
        if fps is not None:
            raise UsageError(f"fps={shown(fps)} is for frames; a video file says its own rate")
        found = list(self.predict_each(paths, clips=clips))
        if not is_path(source) or _is_folder(local(paths[0])):
            return found
        if isinstance(found[0], VideoError):
            raise found[0]
        return found[0]

    def evaluate(
        self,
        videos: str | os.PathLike[str],
        overrides: Overrides = (),
        *,
        clips: int | None = None,
        split: str | None = None,
        skip_unknown: bool = False,
        out: str | os.PathLike[str] | None = None,
    ) -> Assessment:
        """Measure the network on labelled videos, which need have nothing to do with its training.

        Examples:
            >>> found = run.evaluate("new_videos/")
            >>> found.evaluation.video_top1, found.evaluation.bad
            (0.8, {})

        Args:
            videos: A folder of `class/video`, or a CSV file with the columns `path` and `label`.
            overrides: Keys of `data`, such as `{"data.max_bad": 0.1}`: `format`, `classes`, `splits`, `split`,
                `split_column`, `group_regex`, `allow_outside`, `max_bad`, `workers` or `time_limit`.
            clips: Clips of each video; by default the network's.
            split: Take those videos alone that a column `split` or folders above the classes say are of it.
            skip_unknown: Leave out videos of classes that the network does not know.
            out: A folder for metrics.json, report.md, tables and figures; by default nothing is written.

        Returns:
            A comparison with simple baselines (`verdict.sentence`), and what was measured: `evaluation.video_top1`,
            `evaluation.per_class`, `evaluation.predictions()`, and in `evaluation.bad` the videos that could not be
            decoded. What makes it mean less goes to the logger `kresp3d`.

        Raises:
            UsageError: If a video is of a class that the network does not know, or a key is not accepted.
            KrespError: If there are no videos, too many cannot be decoded (`data.max_bad`), or `out` holds something
                else.
        """
        from kresp3d.evaluation.new_videos import measure_videos
        from kresp3d.inference.open_engine import network_path
        from kresp3d.inference.source import trained_in
        from kresp3d.runs.run_folder import command_line

        if split not in (None, *SPLITS):
            raise UsageError(f"split must be one of {', '.join(SPLITS)}; received {split!r}")
        return measure_videos(
            self._engine,
            local(videos),
            overrides,
            name=str(self.path),
            clips=self._count(clips),
            split=split,
            skip_unknown=skip_unknown,
            folder=None if out is None else location(out),
            trained_in=trained_in(network_path(self.path.resolve()), self._engine.info),
            command=command_line(),
        )

    def predict_each(
        self,
        sources: Iterable[str | os.PathLike[str]],
        *,
        clips: int | None = None,
        workers: VideoWorkers | None = None,
    ) -> Iterator[Prediction | VideoError]:
        """Name the action in each of many videos, and give what was found as soon as it is known.

        Videos are decoded while the network scores those before; what is not asked for is not decoded far ahead.

        Args:
            sources: Video files, and folders, for all videos in them.
            clips: As `predict` takes it.
            workers: Processes that decode, where they were started before; then their limits hold.

        Yields:
            What was found in each video, or why it cannot be decoded, in order.

        Raises:
            UsageError: If the sources or `clips` are none of these.
            KrespError: If a folder holds no video.
        """
        clips = self._count(clips)
        paths = _videos(_paths(sources))
        return self._predict_each(paths, clips, workers)

    def _predict_each(
        self, paths: list[Path], clips: int, workers: VideoWorkers | None
    ) -> Iterator[Prediction | VideoError]:
        if workers is None and len(paths) > 1:
            with VideoWorkers(len(paths), imports=DECODING) as workers:
                yield from predict_videos(self._engine, paths, workers, clips=clips)
        else:
            yield from predict_videos(self._engine, paths, workers or self._decoder, clips=clips)

    @cached_property
    def _decoder(self) -> VideoWorkers:
        """A process for single videos, kept since it takes about as long to start as to decode one."""
        workers = VideoWorkers(1, imports=DECODING)
        weakref.finalize(self, workers.close)
        return workers

    def _predict_frames(self, frames: npt.NDArray[Any], fps: float | None, clips: int | None) -> Prediction:
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
            hint = "; several paths are a list" if frames.dtype.kind in "OSU" else ""
            raise UsageError(f"expected frames uint8 [N, H, W, 3], received {frames.dtype} {list(frames.shape)}{hint}")
        rate = real_number(fps)
        if rate is None or rate < MIN_FPS:
            raise UsageError(
                f"expected fps=, the frames per second of the frames, at least {MIN_FPS:g}; received {shown(fps)}"
            )
        count = self._count(clips)
        clip = self.clip
        frames_then = convert_frames(frames, rate=rate, fps=clip.fps, short_side=clip.short_side)
        return Prediction.of(self.labels, mean_scores(self._engine, video_clips(frames_then, clip, clips=count)))

    def _count(self, clips: int | None) -> int:
        return self.clips if clips is None else whole_number("clips", clips)

    def probabilities(self, clips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Softmax scores of clips, such as `kresp3d.read_clips` cuts.

        Args:
            clips: uint8 `[B, T + s, S, S, 3]`, RGB, in the format that `clip` says; any `B` of at least 1.

        Returns:
            float32 `[B, classes]`.

        Raises:
            KrespError: If the clips are of another shape or dtype.
        """
        return probabilities(self._engine, np.asarray(clips))

    def __repr__(self) -> str:
        return f"<kresp3d run {str(self.path)!r}: {self._engine.info.format}, {len(self.labels)} classes>"


def _load_again(path: Path, precision: Precision, threads: int | None) -> Run:
    return load(path, precision=precision, threads=threads)


def _paths(sources: Any) -> list[str | os.PathLike[str]]:
    """Make sure that some sources are paths."""
    if is_path(sources) or isinstance(sources, bytes | np.ndarray) or not isinstance(sources, Iterable):
        raise UsageError(f"expected paths of videos, received {type(sources).__name__}; {_FRAMES}")
    paths = []
    for source in sources:
        if not is_path(source):
            raise UsageError(f"expected paths of videos, received one {type(source).__name__}; {_FRAMES}")
        paths.append(source)
    return paths


def _videos(sources: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The files among some paths, and the videos in the folders among them."""
    found: list[Path] = []
    for source in sources:
        path = local(source)
        # A file that is not there is an error in its place, like any that cannot be decoded.
        found += find_all([path]) if _is_folder(path) else [path]
    return found


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    # Of a name that no file can have, for one; whoever decodes it says so.
    except (OSError, ValueError):
        return False

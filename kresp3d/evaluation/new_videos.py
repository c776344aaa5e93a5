"""Measuring a network on labelled videos that have nothing to do with its training.

The videos are decoded and cut into clips as `kresp3d predict` does it, so that neither records nor a run are needed.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from kresp3d.config.schema import DataConfig, Overrides, make_config
from kresp3d.datasets.catalog import folded, read_entries
from kresp3d.datasets.splits import Entry, count, shorten
from kresp3d.evaluation.assessment import Assessment, assess
from kresp3d.evaluation.binary import check_positive
from kresp3d.evaluation.doubts import absent_classes, changed_code, seen_in_training, video_files
from kresp3d.evaluation.metrics import Evaluation, evaluate_scores
from kresp3d.evaluation.report import REPORT_FILES, print_assessment, write_report
from kresp3d.inference.engine import Engine
from kresp3d.inference.predictor import probabilities
from kresp3d.records.video_clips import read_clips
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError, UsageError, VideoError
from kresp3d.system.files import names_in, write_csv
from kresp3d.system.storage import local
from kresp3d.ui.progress import progress_bar
from kresp3d.video.workers import VideoWorkers

#: Keys of `data` that can be set for videos which are only measured.
KEYS = (
    *("format", "classes", "splits", "split", "split_column", "group_regex", "allow_outside"),
    *("max_bad", "workers", "time_limit"),
)
#: Those of them that a run's own configuration gives.
_OF_RUN = ("max_bad", "workers", "time_limit")
#: Beside a report: the videos that could not be decoded, and why.
BAD_FILE = "bad.csv"

logger = logging.getLogger("kresp3d")


@dataclass(frozen=True, eq=False)
class VideosEvaluation(Evaluation):
    """A network's measured accuracy on videos from anywhere; made by `evaluate_videos`."""

    source: str = ""
    """The folder or CSV file of the videos, absolute."""
    bad: Mapping[str, str] = field(default_factory=dict)
    """Name of each video that could not be decoded, and is not counted -> why."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Class that the network does not know -> its videos, which were left out."""

    @property
    def subject(self) -> str:
        """What was measured on."""
        which = "videos" if self.split == "all" else f"{self.split} videos"
        return f"{which} of {Path(self.source).name}"

    def to_json(self) -> dict[str, Any]:
        """What `metrics.json` holds: what `Evaluation.to_json` gives, and where the videos are from."""
        return {**super().to_json(), "source": self.source, "bad": len(self.bad), "left_out": dict(self.left_out)}


def videos_config(videos: Path, overrides: Overrides, run: RunFolder | None = None) -> DataConfig:
    """What `read_entries` and the decoding need to know.

    Args:
        videos: A folder, or a CSV file.
        overrides: Keys of `data`, such as `data.format=csv`; those of `KEYS` alone.
        run: Whose limits of decoding are taken; the defaults otherwise.

    Raises:
        UsageError: If a key is another, or a value is not accepted.
    """
    keys = [o.partition("=")[0].strip() for o in overrides] if not isinstance(overrides, Mapping) else list(overrides)
    for key in keys:
        if key not in [f"data.{name}" for name in KEYS]:
            raise UsageError(
                f"{key} says nothing of videos that are only measured; expected data.{', data.'.join(KEYS)}"
            )
    own = {} if run is None else {f"data.{key}": getattr(run.config.data, key) for key in _OF_RUN}
    config = make_config({"data.videos": str(videos), **own})
    return make_config(config, overrides).data


def labelled_videos(
    config: DataConfig, labels: Sequence[str], *, split: str | None = None, skip_unknown: bool = False
) -> tuple[list[Entry], dict[str, int]]:
    """List the videos that a network can be measured on.

    Args:
        config: What `videos_config` gave.
        labels: The network's classes.
        split: Take those alone that a CSV file or the folders say are of it.
        skip_unknown: Leave out videos of other classes.

    Returns:
        The videos; and each class that was left out with the number of its videos.

    Raises:
        UsageError: If a video is of another class, or a key does not fit the data.
        KrespError: If there are no videos.
    """
    entries = [entry for entry in read_entries(config) if split in (None, entry.split)]
    if not entries:
        raise KrespError(
            f"{config.videos} has no {split} videos: a CSV file says so in data.split_column, a folder above"
        )
    unknown = Counter(entry.label for entry in entries if entry.label not in labels)
    if unknown and not skip_unknown:
        names = sorted(unknown)
        twins = {folded(label): label for label in labels}
        near = next((f"'{name}' may be '{twins[folded(name)]}': " for name in names if folded(name) in twins), "")
        raise UsageError(
            f"{config.videos} has {count(len(names), 'class', 'classes')} that the network does not know "
            f"({shorten(names)}; it knows {shorten(sorted(labels))}); {near}rename them, or leave their "
            f"{count(unknown.total(), 'video')} out by --skip-unknown"
        )
    known = [entry for entry in entries if entry.label in labels]
    if not known:
        raise KrespError(f"{config.videos} has no video of a class that the network knows: {shorten(sorted(labels))}")
    return known, dict(sorted(unknown.items()))


def evaluate_videos(
    engine: Engine,
    entries: Sequence[Entry],
    config: DataConfig,
    *,
    clips: int,
    split: str | None = None,
    left_out: Mapping[str, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VideosEvaluation:
    """Score `clips` clips of every video and average them (paper, Sec. 3).

    Args:
        engine: The network.
        entries: What `labelled_videos` gave.
        config: Its limits of decoding.
        clips: Clips taken uniformly from each video.
        split: Named in the result.
        left_out: Named in the result.
        progress: Called with the videos done and all videos.

    Raises:
        KrespError: If no video can be decoded.
    """
    labels = engine.info.labels
    read = partial(read_clips, clip=engine.info.clip, clips=clips)
    scores, good, bad = [], [], {}
    with VideoWorkers(
        len(entries), config.workers, imports=("kresp3d.records.video_clips",), time_limit=config.time_limit
    ) as workers:
        paths = [entry.path.absolute() for entry in entries]
        for done, (entry, cut) in enumerate(zip(entries, workers.map(read, paths), strict=True), 1):
            if isinstance(cut, VideoError):
                bad[entry.name] = cut.reason
                logger.warning("cannot decode %s: %s", entry.name, cut.reason)
            else:
                good.append(entry)
                scores.append(probabilities(engine, cut))
            if progress is not None:
                progress(done, len(entries))
    if not good:
        name, reason = next(iter(bad.items()))
        raise KrespError(f"none of {count(len(bad), 'video')} can be decoded, such as {name}: {reason}")
    found = evaluate_scores(
        np.concatenate(scores),
        np.repeat(np.arange(len(good)), clips),
        np.array([labels.index(entry.label) for entry in good]),
        labels,
        [entry.name for entry in good],
        split=split or "all",
    )
    values = {each.name: getattr(found, each.name) for each in fields(found)}
    source = str(local(config.videos).expanduser().resolve())
    return VideosEvaluation(**values, source=source, bad=bad, left_out=left_out or {})


def check_bad(evaluation: VideosEvaluation, config: DataConfig) -> None:
    """Make sure that not too many videos could not be decoded.

    Raises:
        KrespError: If more than `data.max_bad` of them could not.
    """
    bad, total = len(evaluation.bad), evaluation.videos + len(evaluation.bad)
    if bad > config.max_bad * total:
        enough = math.ceil(100 * bad / total) / 100
        raise KrespError(
            f"{bad} of {count(total, 'video')} cannot be decoded, more than data.max_bad allows "
            f"({config.max_bad:.2%}): {shorten(sorted(evaluation.bad))}; mend or remove them, or accept them by "
            f"--set data.max_bad={enough:g}"
        )


def check_folder(folder: Path, source: Path) -> None:
    """Make sure that a report may be written into a folder.

    Raises:
        KrespError: If it holds something else, or the report on other videos.
    """
    _, foreign = names_in(folder, (*REPORT_FILES, BAD_FILE), "a report")
    if foreign:
        raise KrespError(f"{folder} holds something that is no part of a report ({foreign[0]}); give another --out")
    source = source.expanduser().resolve()
    try:
        other = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["source"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return
    if other != str(source):
        raise KrespError(f"{folder} holds the report on {other}; give another --out")


def measure_videos(
    engine: Engine,
    videos: Path,
    overrides: Overrides = (),
    *,
    name: str,
    clips: int | None = None,
    split: str | None = None,
    skip_unknown: bool = False,
    folder: Path | None = None,
    trained_in: RunFolder | None = None,
    command: str = "",
    console: Console | None = None,
    positive: str | None = None,
    precision: float | None = None,
) -> Assessment:
    """Evaluate a network on labelled videos, write the report, and print the summary.

    Args:
        engine: The network.
        videos: A folder of `class/video`, or a CSV file with the columns `path` and `label`.
        overrides: Keys of `data`; see `videos_config`.
        name: The network's, for the report.
        clips: Clips of each video; by default the network's.
        split: As `labelled_videos`.
        skip_unknown: As `labelled_videos`.
        folder: Where the report goes; `None` for no report.
        trained_in: The run that trained the network, if it is known.
        command: What made the report, which says so.
        console: Where the summary is printed; `None` or a quiet one for nowhere, and then no progress is shown either.
        positive: The positive one of two classes; by default the rarer one in training.
        precision: The precision, above 0 and at most 1, that each class's threshold is to give.

    Returns:
        What was measured; its `evaluation` is a `VideosEvaluation`. The majority class is that of the training videos,
        or of the measured ones where the former are not known.

    Raises:
        UsageError: As `videos_config` and `labelled_videos`.
        KrespError: If there are no videos, too many cannot be decoded, or the folder holds something else.
    """
    check_positive(engine.info.labels, positive)
    config = videos_config(videos, overrides, trained_in)
    entries, left_out = labelled_videos(config, engine.info.labels, split=split, skip_unknown=skip_unknown)
    if folder is not None:
        check_folder(folder, videos)
    clips = clips or engine.info.clips
    with progress_bar("Evaluating", quiet=console is None or console.quiet) as progress:
        evaluation = evaluate_videos(
            engine, entries, config, clips=clips, split=split, left_out=left_out, progress=progress
        )
    check_bad(evaluation, config)
    groups = {entry.name: entry.group for entry in entries}
    assessment = _assess(evaluation, groups, trained_in, positive, precision)
    files = {entry.name: entry.path for entry in entries}
    reasons = _doubts(evaluation, files, trained_in)
    for reason in reasons:
        logger.warning("%s", reason)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / BAD_FILE, ("name", "reason"), sorted(evaluation.bad.items()))
        info = _summary(engine, evaluation, name, clips, trained_in)
        write_report(folder, assessment, command=command, run_info=info, doubts=reasons)
    if console is not None:
        print_assessment(assessment, console, None if folder is None else folder / "report.md")
    return assessment


def _assess(
    evaluation: VideosEvaluation,
    groups: Mapping[str, str | None],
    trained_in: RunFolder | None,
    positive: str | None,
    precision: float | None,
) -> Assessment:
    index = {name: number for number, name in enumerate(evaluation.classes)}
    known = None if trained_in is None else np.array([index[label] for label in trained_in.labels("train")])
    return assess(
        evaluation,
        train_labels=known,
        groups=[groups[name] for name in evaluation.video_names],
        reason="they go by records, which these videos have none of",
        positive=positive,
        precision=precision,
    )


def _doubts(evaluation: VideosEvaluation, files: Mapping[str, Path], trained_in: RunFolder | None) -> list[str]:
    found = []
    if trained_in is not None:
        names = evaluation.video_names
        found += seen_in_training(names, {name: files[name] for name in names}, trained_in) + changed_code(trained_in)
    found += absent_classes(evaluation)
    if evaluation.bad:
        total = evaluation.videos + len(evaluation.bad)
        found.append(
            f"{len(evaluation.bad)} of {count(total, 'video')} cannot be decoded and are not counted: {BAD_FILE}"
        )
    if evaluation.left_out:
        left = ", ".join(f"{label} ({number})" for label, number in evaluation.left_out.items())
        found.append(f"videos of classes that the network does not know are left out: {left}")
    return found


def _summary(
    engine: Engine, evaluation: VideosEvaluation, name: str, clips: int, trained_in: RunFolder | None
) -> dict[str, str]:
    info, clip = engine.info, engine.info.clip
    present = len(set(evaluation.video_labels.tolist()))
    return {
        "network": f"{name} ({info.format}{'' if info.quantize == 'none' else f', {info.quantize}'})",
        "trained in": "not known" if trained_in is None else str(trained_in.path),
        "clip": f"{clip.frames} frames + step {clip.step}, {clip.size}×{clip.size}, stride {clip.frame_stride} at "
        f"{clip.fps:g} fps",
        "clips of each video": str(clips),
        "videos": f"{evaluation.source}: {evaluation.videos}, of {present} of the network's {len(info.labels)} classes",
        "not decoded": str(len(evaluation.bad)),
        "compared with training videos": _compared(trained_in),
    }


def _compared(trained_in: RunFolder | None) -> str:
    if trained_in is None:
        return "no: the run that trained the network is not known, so any of these may have been among its videos"
    there, number = len(video_files(trained_in, ["train"])), len(trained_in.labels("train"))
    if there == number:
        return "by name and by content"
    return f"by name, and by content with {there} of {number}: the other files are no longer where they were"

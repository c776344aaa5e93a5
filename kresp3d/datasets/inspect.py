"""What is in a dataset, and which of its videos cannot be decoded. Writes nothing and needs no TensorFlow."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median

from kresp3d.config.schema import DataConfig
from kresp3d.datasets.catalog import load_catalog
from kresp3d.datasets.copies import warn_of_copies
from kresp3d.datasets.source import resolve_videos
from kresp3d.datasets.splits import SPLITS, Split
from kresp3d.system.errors import VideoError
from kresp3d.video.decode import iter_frames, probe
from kresp3d.video.workers import Progress, map_videos


@dataclass(frozen=True, slots=True)
class Bad:
    """A video that cannot be decoded, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """One video: `frames` at the configuration's rate, `seconds`, and the picture's size in pixels.

    `frames` and `seconds` are `None` where the file's header does not say.
    """

    name: str
    label: str
    group: str | None
    split: Split
    frames: int | None
    seconds: float | None
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, median and greatest of some values."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """The spread of the values that are known; `None` without any."""
        known = [value for value in values if value is not None]
        return cls(min(known), median(known), max(known)) if known else None


@dataclass(frozen=True)
class Stats:
    """A dataset in figures.

    `videos[label][split]` counts videos; `sizes` counts (width, height), most common first; `groups[split]` holds the
    groups; `shared` the groups on both sides of two splits, where there are any.
    """

    classes: tuple[str, ...]
    videos: dict[str, dict[Split, int]]
    seconds: dict[str, Spread | None]
    frames: Spread | None
    all_seconds: Spread | None
    hours: float
    sizes: list[tuple[tuple[int, int], int]]
    groups: dict[Split, frozenset[str]]
    shared: dict[tuple[Split, Split], frozenset[str]]
    bad: tuple[Bad, ...]


def check(config: DataConfig, *, progress: Progress | None = None) -> tuple[list[Bad], int]:
    """Decode every video wholly, as `prepare` does.

    Returns:
        The videos that cannot be decoded, in the catalog's order, and the number of all videos.
    """
    config = resolve_videos(config)
    catalog = load_catalog(config)
    sides = {video.name: video.split for video in catalog.videos}
    warn_of_copies({video.name: video.path for video in catalog.videos}, sides, "side of the split")
    total = len(catalog.videos)
    decode = functools.partial(count_frames, fps=config.fps, short_side=config.short_side)
    bad = []
    paths = [video.path for video in catalog.videos]
    results = map_videos(decode, paths, config.workers, time_limit=config.time_limit)
    for done, (video, result) in enumerate(zip(catalog.videos, results, strict=True), start=1):
        if isinstance(result, VideoError):
            bad.append(Bad(video.name, result.reason))
        if progress is not None:
            progress(done, total)
    return bad, total


def count_frames(path: Path, fps: float, short_side: int | None) -> int:
    """Decode a video wholly and count its frames at `fps`."""
    return sum(1 for _ in iter_frames(path, fps=fps, short_side=short_side))


def stats(config: DataConfig, *, progress: Progress | None = None) -> Stats:
    """Read the header of every video and sum up; see `read_facts`."""
    return summarise(*read_facts(config, progress=progress))


def read_facts(
    config: DataConfig, *, progress: Progress | None = None
) -> tuple[list[Facts], tuple[str, ...], list[Bad]]:
    """Read the header of every video. Needs no records.

    Groups in two splits, which training refuses, are among what is found.

    Returns:
        What is known of the videos, the classes, and the videos that cannot be opened.
    """
    config = resolve_videos(config)
    catalog = load_catalog(config.model_copy(update={"allow_group_leak": True}))
    facts, bad = [], []
    paths = [video.path for video in catalog.videos]
    infos = map_videos(probe, paths, config.workers, time_limit=config.time_limit)
    for done, (video, info) in enumerate(zip(catalog.videos, infos, strict=True), start=1):
        if isinstance(info, VideoError):
            bad.append(Bad(video.name, info.reason))
        else:
            seconds = info.duration
            frames = None if seconds is None else max(1, round(seconds * config.fps))
            facts.append(
                Facts(video.name, video.label, video.group, video.split, frames, seconds, info.height, info.width)
            )
        if progress is not None:
            progress(done, len(catalog.videos))
    return facts, catalog.classes, bad


def summarise(facts: Sequence[Facts], classes: Sequence[str], bad: Sequence[Bad] = ()) -> Stats:
    """Sum up what is known of the videos."""
    videos = {label: dict.fromkeys(SPLITS, 0) for label in classes}
    for fact in facts:
        videos[fact.label][fact.split] += 1
    groups = {name: frozenset(f.group for f in facts if f.split == name and f.group is not None) for name in SPLITS}
    shared = {(a, b): groups[a] & groups[b] for a, b in combinations(SPLITS, 2)}
    return Stats(
        classes=tuple(classes),
        videos=videos,
        seconds={label: Spread.of(f.seconds for f in facts if f.label == label) for label in classes},
        frames=Spread.of(f.frames for f in facts),
        all_seconds=Spread.of(f.seconds for f in facts),
        hours=sum(f.seconds or 0.0 for f in facts) / 3600,
        sizes=Counter((f.width, f.height) for f in facts).most_common(),
        groups=groups,
        shared={pair: names for pair, names in shared.items() if names},
        bad=tuple(bad),
    )

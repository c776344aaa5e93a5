"""Accuracy by group, the person or the recording that videos come from, and intervals that respect groups.

Videos of one group are alike: if one of them is recognised, the others probably are too. So ten videos of one person
say less than ten videos of ten persons. The intervals here come from a bootstrap that draws whole groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: With fewer groups, a bootstrap over groups says nothing.
FEWEST_GROUPS = 5
#: With fewer groups, a bootstrap's intervals tend to be too narrow.
MANY_GROUPS = 20
RESAMPLES = 5000
SEED = 0


@dataclass(frozen=True, slots=True)
class GroupResult:
    """How many of a group's videos were recognised."""

    name: str
    videos: int
    correct: int

    @property
    def accuracy(self) -> float:
        """The share that was recognised."""
        return self.correct / self.videos


@dataclass(frozen=True, slots=True)
class GroupResults:
    """Accuracy by group; `rows` are the groups, the worst first."""

    rows: tuple[GroupResult, ...]
    ungrouped: int
    """Videos without a group; a bootstrap takes each for a group of its own."""
    units: int
    """Groups, and videos without one."""
    interval: tuple[float, float] | None
    """95 % interval of the accuracy of all videos, which respects groups."""
    reason: str | None
    """Why there is no interval."""

    @property
    def spread(self) -> dict[str, float | None]:
        """Mean, standard deviation, lowest, median and highest accuracy of the groups; one group has no deviation."""
        values = np.array([row.accuracy for row in self.rows])
        return {
            "mean": float(values.mean()),
            "standard_deviation": float(values.std(ddof=1)) if len(values) > 1 else None,
            "lowest": float(values.min()),
            "median": float(np.median(values)),
            "highest": float(values.max()),
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `metrics.json`."""
        return {
            "number": len(self.rows),
            "videos_without_group": self.ungrouped,
            "video_top1_interval": None if self.interval is None else list(self.interval),
            "no_interval": self.reason,
            "resamples": RESAMPLES,
            "seed": SEED,
            "spread": self.spread,
            "per_group": [
                {"group": row.name, "videos": row.videos, "correct": row.correct, "accuracy": row.accuracy}
                for row in self.rows
            ],
        }


def group_units(groups: Sequence[str | None]) -> IntArray | None:
    """Number the units that videos come from: groups, and each video without one.

    Args:
        groups: The group of each video `[V]`.

    Returns:
        int64 `[V]`, from 0 without gaps; `None` if no video has a group.
    """
    if all(group is None for group in groups):
        return None
    keys = [(0, str(index)) if group is None else (1, group) for index, group in enumerate(groups)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.int64)


def measure_groups(hits: BoolArray, groups: Sequence[str | None]) -> GroupResults | None:
    """Measure accuracy by group.

    Args:
        hits: Which videos were recognised `[V]`.
        groups: The group of each video `[V]`.

    Returns:
        `None` if no video has a group.
    """
    units = group_units(groups)
    if units is None:
        return None
    counts: dict[str, list[int]] = {}
    for group, hit in zip(groups, hits, strict=True):
        if group is not None:
            count = counts.setdefault(group, [0, 0])
            count[0] += 1
            count[1] += int(hit)
    rows = sorted((GroupResult(name, *count) for name, count in counts.items()), key=lambda r: (r.accuracy, r.name))
    number = int(units.max()) + 1
    interval = bootstrap_interval(hits, units)
    reason = None
    if number < FEWEST_GROUPS:
        reason = f"a bootstrap over groups needs at least {FEWEST_GROUPS} of them, and there are {number}"
    elif interval is None:
        reason = "all groups have the same accuracy, so drawing other groups changes nothing"
    return GroupResults(
        tuple(rows), sum(group is None for group in groups), number, None if reason else interval, reason
    )


def bootstrap_interval(values: npt.ArrayLike, units: IntArray) -> tuple[float, float] | None:
    """Compute the 95 % percentile interval of a mean over videos by drawing whole units, with replacement.

    Equal input gives equal output: the number of resamples and the seed are fixed.

    Args:
        values: A number for each video `[V]`.
        units: The unit of each video `[V]`, from 0 without gaps.

    Returns:
        `None` if there are fewer than 5 units, or the mean is the same in each.
    """
    from scipy.stats import bootstrap

    sizes = np.bincount(units)
    sums = np.bincount(units, np.asarray(values, np.float64))
    if len(sizes) < FEWEST_GROUPS or np.ptp(sums / sizes) == 0:
        return None
    found = bootstrap(
        (sums, sizes),
        lambda part, whole, axis: part.sum(axis=axis) / whole.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        # All draws at once of many groups would fill the memory.
        batch=max(1, 2_000_000 // len(sizes)),
        method="percentile",
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    return float(found.low), float(found.high)

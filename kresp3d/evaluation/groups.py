"""Accuracy by group, the person or the recording that videos come from, and intervals that respect groups.

Videos of one group are alike: if one of them is recognised, the others probably are too. So ten videos of one person
say less than ten videos of ten persons. The intervals here go by how much groups differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.evaluation.metrics import score_interval

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: With fewer groups, how much they differ is not known.
FEWEST_GROUPS = 3


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
    """Videos without a group; for the interval each is a group of its own."""
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
    reason = None
    if number < FEWEST_GROUPS:
        reason = f"it needs at least {FEWEST_GROUPS} groups, and there are {number}"
    without = sum(group is None for group in groups)
    return GroupResults(tuple(rows), without, number, fraction_interval(hits, units), reason)


def fraction_interval(hits: BoolArray, units: IntArray) -> tuple[float, float] | None:
    """Compute the 95 % interval of a fraction of videos that come in units.

    Wilson's score interval of as many independent videos as these are worth: so many have the variance that the units
    show. Its normal quantile is replaced by Student's, with one degree of freedom less than there are units. Where all
    videos or none are hits, the units show no variance, and each counts as one video.

    Source: C. Franco, R. J. A. Little, T. A. Louis and E. V. Slud, "Comparative study of confidence intervals for
    proportions in complex sample surveys", Journal of Survey Statistics and Methodology 7 (2019), 334-364; with the
    degrees of freedom as in E. L. Korn and B. I. Graubard, Survey Methodology 24 (1998), 193-201.

    Args:
        hits: Which videos are `[V]`.
        units: The unit of each video `[V]`, from 0 without gaps.

    Returns:
        `None` if there are fewer than 3 units.
    """
    number = int(units.max()) + 1
    if number < FEWEST_GROUPS:
        return None
    mean, error = _mean_and_error(hits, units)
    variance = mean * (1 - mean)
    # Never more than there are, though units may happen to be more alike than chance makes them.
    worth = number if variance == 0 else len(hits) if error == 0 else min(len(hits), variance / error**2)
    return score_interval(mean, worth, _quantile(number))


def difference_interval(values: npt.ArrayLike, units: IntArray) -> tuple[float, float] | None:
    """Compute the 95 % interval of a mean difference over videos that come in units.

    Student's t, with one degree of freedom less than there are units, and the standard error of a ratio of sums over
    units, which is cluster-robust.

    Source: W. G. Cochran, Sampling Techniques, 3rd edition (1977), Sec. 6.4; A. C. Cameron and D. L. Miller, "A
    practitioner's guide to cluster-robust inference", Journal of Human Resources 50 (2015), 317-372.

    Args:
        values: A number from -1 to 1 for each video `[V]`.
        units: The unit of each video `[V]`, from 0 without gaps.

    Returns:
        `None` if there are fewer than 3 units, or the mean is the same in each.
    """
    number = int(units.max()) + 1
    if number < FEWEST_GROUPS:
        return None
    mean, error = _mean_and_error(values, units)
    # The sums are rounded.
    if error < 1e-12:
        return None
    half = _quantile(number) * error
    return max(-1.0, mean - half), min(1.0, mean + half)


def _mean_and_error(values: npt.ArrayLike, units: IntArray) -> tuple[float, float]:
    """The mean over videos, and its standard error where whole units were drawn."""
    sizes = np.bincount(units)
    sums = np.bincount(units, np.asarray(values, np.float64))
    mean = sums.sum() / sizes.sum()
    squares = ((sums - mean * sizes) ** 2).sum()
    return float(mean), float(np.sqrt(len(sizes) / (len(sizes) - 1) * squares) / sizes.sum())


def _quantile(units: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, units - 1))

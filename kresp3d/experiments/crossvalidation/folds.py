"""Which video is tested in which fold: arithmetic on labels and groups alone.

A group, the person or the source video that clips were cut from, is tested in one fold and is never on two sides.
Videos without a group are dealt one by one. Classes are as evenly spread over the folds as groups allow.
"""

from __future__ import annotations

import itertools
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from kresp3d.datasets.splits import Labelled, count, shorten, unit_of
from kresp3d.system.errors import KrespError, UsageError

if TYPE_CHECKING:
    from sklearn.model_selection import BaseCrossValidator

#: A number of folds, or one fold for each group.
Folds = int | Literal["group"]

#: Ways to deal groups up to which all of them are compared.
ALL_WAYS = 5000
#: Of more, random ones, besides scikit-learn's, of which the best is taken after each was improved.
TRIES = 30
#: Groups up to which those are tried, and up to which scikit-learn's way is improved; beyond it would take minutes, and
#: of so many groups any way is even.
TRIED, IMPROVED = 100, 1000

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def assign_folds(videos: Sequence[Labelled], folds: Folds, seed: int) -> dict[str, int]:
    """Decide in which fold each video is tested.

    Args:
        videos: The videos, in any order; names are unique.
        folds: How many folds; or `group`, for one fold for each group, in the order of their names.
        seed: Another seed deals otherwise; nothing else is random.

    Returns:
        The name of each video -> its fold, from 1. No fold is empty, and the videos of all folds but one always have
        all classes.

    Raises:
        UsageError: If there cannot be so many folds.
        KrespError: If a class can only be tested or learned, not both.
    """
    videos = sorted(videos, key=lambda video: video.name)
    _check_videos(videos, folds)
    if folds == "group":
        numbers = {group: number for number, group in enumerate(sorted({video.group or "" for video in videos}), 1)}
        return {video.name: numbers[video.group or ""] for video in videos}
    found = _deal_groups(videos, folds, seed) if _has_groups(videos) else _deal_videos(videos, folds, seed)
    return {video.name: int(fold) + 1 for video, fold in zip(videos, found, strict=True)}


def _check_videos(videos: Sequence[Labelled], folds: Folds) -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for video in videos:
        homes[video.label].add(unit_of(video))
    if len(homes) < 2:
        raise KrespError(f"expected at least two classes to cross-validate, found {shorten(sorted(homes)) or 'none'}")
    has_groups, units = _has_groups(videos), set().union(*homes.values())
    if len(units) == 1:
        raise KrespError("all videos are of one group, so that none would be left to learn from; name other groups")
    if folds == "group":
        _check_groups(videos)
    elif folds < 2:
        raise UsageError(f"--folds {folds}: expected at least 2")
    elif folds > len(units):
        what = count(len(units), "group" if has_groups else "video")
        raise UsageError(f"--folds {folds}: there are only {what}; use at most {len(units)}")
    elif folds > (most := max(Counter(video.label for video in videos).values())):
        raise UsageError(f"--folds {folds}: no class has more than {count(most, 'video')}; use at most {most}")
    alone = sorted(label for label, found in homes.items() if len(found) == 1)
    if alone:
        what = f"one group alone, {min(homes[alone[0]]).removeprefix('group ')}" if has_groups else "one video alone"
        raise KrespError(
            f"{count(len(alone), 'class', 'classes')} with {what}: {shorten(alone)}; with it tested, nothing is left "
            "to learn the class from: add videos, or leave the class out by data.classes"
        )


def _check_groups(videos: Sequence[Labelled]) -> None:
    without = [video.name for video in videos if video.group is None]
    if without:
        raise UsageError(
            f"--folds group needs the group of each video, and {count(len(without), 'video')} of {len(videos)} "
            f"without one, such as {without[0]}; name groups by data.group_regex or a CSV's group column, or give a "
            "number of folds"
        )


def _has_groups(videos: Sequence[Labelled]) -> bool:
    return any(video.group is not None for video in videos)


def _deal_videos(videos: Sequence[Labelled], folds: int, seed: int) -> IntArray:
    """The fold of each video `[V]`, from 0; the numbers of a class's videos in the folds differ by one at most."""
    from sklearn.model_selection import StratifiedKFold

    return _tested(StratifiedKFold(folds, shuffle=True, random_state=seed), videos)


def _deal_groups(videos: Sequence[Labelled], folds: int, seed: int) -> IntArray:
    """The fold of each video `[V]`, from 0; groups are moved for as long as that makes classes more even."""
    from sklearn.model_selection import StratifiedGroupKFold

    _, units = np.unique([unit_of(video) for video in videos], return_inverse=True)
    classes, labels = np.unique([video.label for video in videos], return_inverse=True)
    counts = np.zeros((units.max() + 1, len(classes)), np.int64)
    np.add.at(counts, (units, labels), 1)
    cost = _FoldCost(counts, folds)
    if folds ** len(counts) <= ALL_WAYS:
        ways = [np.array(way) for way in itertools.product(range(folds), repeat=len(counts))]
        np.random.default_rng(seed).shuffle(ways)
    else:
        first = np.zeros(len(counts), np.int64)
        first[units] = _tested(StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32), videos)
        ways = [first]
        if len(counts) <= TRIED:
            random = np.random.default_rng(seed)
            ways += [random.integers(folds, size=len(counts)) for _ in range(TRIES)]
        if len(counts) <= IMPROVED:
            for way in ways:
                _improve(way, counts, cost)
    # Rounded, so that of equals the first one counts on any machine.
    best = min(ways, key=lambda way: round(float(cost(_sums(way, counts, folds)).sum()), 6))
    if cost.is_refused(_sums(best, counts, folds)).any():
        raise KrespError(
            f"no way was found to put {count(len(counts), 'group')} into {folds} folds so that each class can be "
            "learned in each of them; try another number of folds, or --folds group"
        )
    return best[units]


def _tested(splitter: BaseCrossValidator, videos: Sequence[Labelled]) -> IntArray:
    labels, units = [video.label for video in videos], [unit_of(video) for video in videos]
    found = np.zeros(len(videos), np.int64)
    with warnings.catch_warnings():
        # That a class has fewer videos than there are folds.
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, tested) in enumerate(splitter.split(labels, labels, units)):
            found[tested] = number
    return found


def _sums(of_units: IntArray, counts: IntArray, folds: int) -> IntArray:
    """Videos of each class in each fold, `[folds, C]`."""
    sums = np.zeros((folds, counts.shape[1]), np.int64)
    np.add.at(sums, of_units, counts)
    return sums


class _FoldCost:
    """How far a fold is from an even share of each class and of all videos; refused ones cost more than all else.

    Args:
        counts: Videos of each class in each unit, `[U, C]`.
        folds: How many folds.
    """

    def __init__(self, counts: IntArray, folds: int) -> None:
        self.folds = folds
        self.totals = counts.sum(axis=0)

    def __call__(self, sums: IntArray) -> FloatArray:
        """The cost of each fold `[F]` with so many videos of each class, `[F, C]`."""
        all_videos = self.totals.sum()
        by_class = ((sums - self.totals / self.folds) ** 2 / self.totals).sum(axis=1)
        overall = (sums.sum(axis=1) - all_videos / self.folds) ** 2 / all_videos
        return np.asarray(by_class + overall + 2.0 * all_videos * self.is_refused(sums), np.float64)

    def is_refused(self, sums: IntArray) -> npt.NDArray[np.int64]:
        """How many classes have all their videos in a fold `[F]`, and one more where it is empty."""
        return np.asarray((sums == self.totals).sum(axis=1) + (sums.sum(axis=1) == 0), np.int64)


def _improve(of_units: IntArray, counts: IntArray, cost: _FoldCost) -> None:
    """Move units to other folds, or swap two, for as long as that lowers the cost; in place."""
    sums = _sums(of_units, counts, cost.folds)
    nothing = np.zeros((1, counts.shape[1]), np.int64)
    changed = True
    while changed:
        changed = False
        for unit, other in itertools.product(range(len(counts)), range(cost.folds)):
            own = int(of_units[unit])
            if own == other:
                continue
            # What comes back in exchange: a unit of the other fold, or nothing.
            partners = np.flatnonzero(of_units == other)
            moved = counts[unit] - np.concatenate([counts[partners], nothing])
            before = cost(sums[[own, other]]).sum()
            after = cost(sums[own] - moved) + cost(sums[other] + moved)
            choice = int(after.argmin())
            if after[choice] < before - 1e-9:
                of_units[unit] = other
                if choice < len(partners):
                    of_units[partners[choice]] = own
                sums[own] -= moved[choice]
                sums[other] += moved[choice]
                changed = True

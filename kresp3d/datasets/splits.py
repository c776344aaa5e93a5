"""Splits: completing the ones that the data brings, and refusing those that leak.

A group, the person or the source video that clips were cut from, is never on two sides of a split. Videos without a
group are split one by one.
"""

from __future__ import annotations

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, get_args

from kresp3d.system.errors import KrespError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

#: Names listed in one message.
SHOWN = 20

logger = logging.getLogger("kresp3d")


@dataclass(frozen=True, slots=True)
class Entry:
    """A video as a source lists it; `split` is `None` where the source does not say."""

    path: Path
    name: str
    label: str
    group: str | None = None
    split: Split | None = None


class Labelled(Protocol):
    """A video with a class, and perhaps a group."""

    @property
    def name(self) -> str:
        """What it is called, unlike any other."""

    @property
    def label(self) -> str:
        """Its class."""

    @property
    def group(self) -> str | None:
        """The person or source that it shows, if that is known."""


def complete_splits(entries: Sequence[Entry], *, validation: float, test: float, seed: int) -> list[Entry]:
    """Give every entry a split, keeping those that are there.

    1. A video without a split goes where its group is.
    2. If none is for testing, a share of the videos without a split is.
    3. The others are for training.
    4. If none is for validation, a share of the training videos is.

    Args:
        entries: Videos, some or all without a split.
        validation: Share of the training videos, as near as whole groups allow.
        test: Share of the videos without a split, as near as whole groups allow.
        seed: Another seed chooses other groups; nothing else is random.

    Returns:
        The entries, in order.
    """
    homes = {e.group: e.split for e in entries if e.group is not None and e.split is not None}
    done = [replace(e, split=homes.get(e.group)) if e.split is None and e.group is not None else e for e in entries]
    if all(e.split != "test" for e in done):
        done = _set_aside(done, None, "test", test, seed)
    done = [replace(e, split="train") if e.split is None else e for e in done]
    if all(e.split != "validation" for e in done):
        done = _set_aside(done, "train", "validation", validation, seed)
    return done


def _set_aside(entries: Sequence[Entry], source: Split | None, target: Split, share: float, seed: int) -> list[Entry]:
    pool = [e for e in entries if e.split == source]
    if not pool or share == 0:
        return list(entries)
    units: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in pool:
        units[unit_of(entry)][entry.label] += 1
    chosen = choose_units(units, share, f"{target} {seed}")
    if not chosen:
        logger.warning(
            "no %s split could be made: every group has some class's only videos, or far more than its share", target
        )
    elif any(e.group is None for e in pool):
        logger.warning(
            "the %s split is made by video, since the videos have no groups: clips of one person or source may be on "
            "both sides, and the scores too good; name groups by data.group_regex or a CSV's group column",
            target,
        )
    return [replace(e, split=target) if e.split == source and unit_of(e) in chosen else e for e in entries]


def unit_of(video: Labelled) -> str:
    """What is not taken apart: the group, or the video itself."""
    return f"video {video.name}" if video.group is None else f"group {video.group}"


def choose_units(units: Mapping[str, Mapping[str, int]], share: float, seed: str) -> set[str]:
    """Choose units so that about `share` of the videos of each class is chosen.

    Units are put in or out, in a random order, for as long as that brings the counts nearer to the share. Every class
    keeps a video that is not chosen and, if it is in two units or more, tends to have one that is.

    Args:
        units: Videos of each class, by unit.
        share: Between 0 and 1.
        seed: Decides the order, whatever the order of `units`.

    Returns:
        The names of the chosen units.
    """
    totals: Counter[str] = Counter()
    homes: Counter[str] = Counter()
    for counts in units.values():
        totals.update(counts)
        homes.update(counts.keys())
    everything = totals.total()
    taken: Counter[str] = Counter()
    size = 0
    chosen: set[str] = set()

    def cost(label: str, count: int) -> float:
        # A class that could have a video and has none outweighs all differences in numbers.
        missing = everything if count == 0 and homes[label] > 1 else 0
        return missing + (count - share * totals[label]) ** 2 / totals[label]

    def gain(counts: Mapping[str, int], sign: int) -> float:
        before = size - share * everything
        after = before + sign * sum(counts.values())
        labels = sum(cost(label, taken[label]) - cost(label, taken[label] + sign * n) for label, n in counts.items())
        return labels + (before**2 - after**2) / everything

    order = sorted(units)
    random.Random(seed).shuffle(order)
    changed = True
    while changed:
        changed = False
        for name in order:
            counts = units[name]
            sign = -1 if name in chosen else 1
            if sign > 0 and any(taken[label] + n == totals[label] for label, n in counts.items()):
                continue
            if gain(counts, sign) > 1e-9:
                chosen ^= {name}
                for label, n in counts.items():
                    taken[label] += sign * n
                    size += sign * n
                changed = True
    return chosen


def find_leaks(entries: Iterable[Entry]) -> dict[str, tuple[Split, ...]]:
    """The groups that are in more than one split, and those splits."""
    found: dict[str, set[Split]] = defaultdict(set)
    for entry in entries:
        if entry.group is not None and entry.split is not None:
            found[entry.group].add(entry.split)
    return {group: tuple(s for s in SPLITS if s in found[group]) for group in sorted(found) if len(found[group]) > 1}


def check_leaks(entries: Iterable[Entry], *, allow: bool, where: str) -> None:
    """Refuse a split with a group on two sides.

    Args:
        entries: All videos.
        allow: Warn only.
        where: The source, for the message.

    Raises:
        KrespError: If there are such groups and `allow` is false.
    """
    leaks = find_leaks(entries)
    if not leaks:
        return
    named = shorten([f"{group} ({', '.join(splits)})" for group, splits in leaks.items()])
    message = f"{where}: {count(len(leaks), 'group')} on more than one side of the split: {named}"
    if not allow:
        raise KrespError(
            f"{message}; scores would be too good, so put each group on one side, or set data.allow_group_leak=true"
        )
    logger.warning("%s; allowed by data.allow_group_leak, and scores are too good", message)


def check_classes(entries: Sequence[Entry], where: str) -> None:
    """Refuse videos that no classifier can be trained and tested on.

    Raises:
        KrespError: If there are fewer than two classes, or a class has no training video.
    """
    by_class: dict[str, set[Split | None]] = defaultdict(set)
    for entry in entries:
        by_class[entry.label].add(entry.split)
    if len(by_class) < 2:
        raise KrespError(f"{where}: expected at least two classes, found {shorten(sorted(by_class)) or 'none'}")
    untrained = sorted(label for label, splits in by_class.items() if "train" not in splits)
    if untrained:
        raise KrespError(
            f"{where}: {count(len(untrained), 'class', 'classes')} without a training video: {shorten(untrained)}; "
            "add training videos or leave the class out"
        )
    present = {e.split for e in entries}
    for split in SPLITS[1:]:
        without = sorted(label for label, splits in by_class.items() if split not in splits)
        if split not in present:
            # Without validation videos, the last epoch is kept; without test videos, nothing is known.
            if split == "test":
                logger.warning("%s: there is no %s split", where, split)
        elif without:
            named = f"{count(len(without), 'class', 'classes')} without a {split} video: {shorten(without)}"
            logger.warning("%s: %s", where, named)


def shorten(names: Sequence[str]) -> str:
    """A list for a sentence, cut after `SHOWN` names."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def count(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun."""
    return f"{number} {one if number == 1 else many or one + 's'}"

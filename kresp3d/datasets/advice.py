"""What would help a network most, as far as a table of the videos tells: no network is needed to see it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

from kresp3d.datasets.inspect import Facts
from kresp3d.datasets.splits import SPLITS, Split, count, unit_of

#: Fewer training groups than this hardly show how groups differ.
FEW_GROUPS = 10
#: Fewer training videos of a class than this are few.
FEW_VIDEOS = 10
#: A class with so many times the training videos of another outweighs it.
IMBALANCE = 3
#: Names in one finding.
SHOWN = 6
#: Points by which a test may be off either way and still tell good settings from bad ones.
WIDE = 10


def advise(facts: Sequence[Facts], classes: Iterable[str], *, short: int | None = None) -> list[str]:
    """Say what would help, what helps most first.

    Args:
        facts: The videos.
        classes: All classes, also those without a video that can be opened.
        short: Stored frames that a video should have, where too many have fewer.

    Returns:
        A sentence or two for each finding; none where nothing is amiss.
    """
    by_split: dict[Split, list[Facts]] = {split: [fact for fact in facts if fact.split == split] for split in SPLITS}
    train, test = by_split["train"], by_split["test"]
    counts = Counter(fact.label for fact in train)
    homes = _homes(facts)
    lonely = sorted(label for label, units in homes.items() if len(units) == 1)
    return [
        *_missing(classes, counts, test, lonely),
        *_leaks(by_split),
        *_groups(facts, train),
        *_lonely(facts, homes, lonely),
        *_few(counts),
        *_short_videos(train, short),
        *_imbalance(counts),
        *_small_test(test, can_be_folded=not lonely),
    ]


def _homes(facts: Iterable[Facts]) -> dict[str, set[str]]:
    """The units of each class, of which each is on one side of a split: groups, and videos without one."""
    homes: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        homes[fact.label].add(unit_of(fact))
    return homes


def _names(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _missing(
    classes: Iterable[str], counts: Mapping[str, int], test: Sequence[Facts], lonely: Collection[str]
) -> list[str]:
    found = []
    if untrained := [label for label in classes if not counts.get(label)]:
        found.append(f"No training video of {_names(untrained)}: a network cannot learn it. Film some, or split anew.")
    tested = {fact.label for fact in test}
    # Of a class that has one group alone, that is said.
    if test and (untested := [label for label in counts if label not in tested and label not in lonely]):
        found.append(
            f"No test video of {_names(sorted(untested))}: nothing will be known of it. Measure by `kresp3d crossval`."
        )
    return found


def _leaks(by_split: Mapping[Split, Sequence[Facts]]) -> list[str]:
    groups = {split: {fact.group for fact in of} - {None} for split, of in by_split.items()}
    found = []
    for first, second in combinations(SPLITS, 2):
        if shared := groups[first] & groups[second]:
            found.append(
                f"{count(len(shared), 'group')} both in {first} and in {second} ({_names(sorted(map(str, shared)))}): "
                "the figures would be too good. Let a group be on one side only."
            )
    return found


def _groups(facts: Sequence[Facts], train: Sequence[Facts]) -> list[str]:
    names = {fact.group for fact in train} - {None}
    if not any(fact.group is not None for fact in facts):
        return [
            "It is not known which videos show the same person or recording, so that the test may be too easy. Name "
            "such groups by data.group_regex, or in the column `group` of a CSV file; `kresp3d init` looks for them in "
            "the names."
        ]
    if len(names | {fact.group for fact in facts} - {None}) == 1:
        return [
            f"Film others: all videos are of one group, {next(iter(names))}, so that none can be left for a test, and "
            "nothing will be known of anybody else."
        ]
    if len(names) < FEW_GROUPS:
        return [
            f"More people or recordings: there are {count(len(names), 'group')} to learn from, and what a network has "
            "to learn is how groups differ. A few videos of a new one help more than many of a known one."
        ]
    return []


def _lonely(facts: Sequence[Facts], homes: Mapping[str, set[str]], lonely: Sequence[str]) -> list[str]:
    if not lonely or len(set().union(*homes.values())) == 1:
        return []
    if all(fact.group is None for fact in facts):
        return [f"More videos of {_names(lonely)}: one video alone cannot be both learned and tested."]
    return [
        f"Film {_names(lonely)} with others too: one group alone has it, so that it cannot be both learned and "
        "tested, and a network may take the group for the class."
    ]


def _few(counts: Mapping[str, int]) -> list[str]:
    few = sorted((number, label) for label, number in counts.items() if number < FEW_VIDEOS)
    if not few:
        return []
    named = _names([f"{label} ({number})" for number, label in few])
    return [f"More videos of {named}: fewer than {FEW_VIDEOS} to learn from."]


def _short_videos(train: Sequence[Facts], short: int | None) -> list[str]:
    shorter = sum(short is not None and fact.frames is not None and fact.frames < short for fact in train)
    if not shorter:
        return []
    return [
        f"Longer videos: {shorter} of {count(len(train), 'training video')} have fewer than {short} stored frames, so "
        "that clips are shorter than they could be, and show less of the motion."
    ]


def _imbalance(counts: Mapping[str, int]) -> list[str]:
    if not counts:
        return []
    (most, highest), (least, lowest) = max(_pairs(counts)), min(_pairs(counts))
    if most < IMBALANCE * least:
        return []
    return [
        f"{highest} has {most} training videos and {lowest} {least}. Until there are more of the rare ones, set "
        "training.class_weights: balanced, or clip.balanced: true, where they are missed."
    ]


def _pairs(counts: Mapping[str, int]) -> list[tuple[int, str]]:
    return [(number, label) for label, number in counts.items()]


def _small_test(test: Sequence[Facts], *, can_be_folded: bool) -> list[str]:
    if not test and not can_be_folded:
        return []
    if not test:
        return ["There are no test videos, so that nothing will be known. Measure by `kresp3d crossval`."]
    points = half_width(len(test))
    if points <= WIDE:
        return []
    width = f"{count(len(test), 'test video')} tell an accuracy of 80 % to within {points:.0f} points either way"
    if can_be_folded:
        return [f"Measure by `kresp3d crossval`, which tests every video once: {width}."]
    return [
        f"More test videos: {width}. `kresp3d crossval` tests every video once, as soon as no class is of one group "
        "alone."
    ]


def half_width(n: int) -> float:
    """Half of the 95 % interval of an accuracy of about 80 %, in points.

    Args:
        n: Number of videos.
    """
    from scipy.stats import binomtest

    interval = binomtest(round(0.8 * n), n).proportion_ci(method="wilson")
    return float(50 * (interval.high - interval.low))

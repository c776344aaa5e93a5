from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kresp3d.datasets.splits import Entry
from kresp3d.experiments.crossvalidation.folds import assign_folds
from kresp3d.system.errors import KrespError, UsageError

labels = st.sampled_from(["box", "jump", "run", "walk"])
PEOPLE = [f"p{i}" for i in range(7)]


def entries_of(rows):
    return [Entry(Path(f"{i:03}.mp4"), f"{i:03}.mp4", *row) for i, row in enumerate(rows)]


def unit(entry):
    return entry.name if entry.group is None else entry.group


@st.composite
def possible(draw, groups, most_rows, most_folds=6, some_without=False):
    """Videos and a number of folds that there can be: enough units, and no class in one unit alone."""
    names = draw(st.lists(labels, min_size=2, max_size=4, unique=True))
    any_group = st.sampled_from([*groups, None] if some_without else groups)
    rows = draw(st.lists(st.tuples(st.sampled_from(names), any_group), max_size=most_rows))
    for name in names:
        first = draw(st.integers(0, len(groups) - 1))
        rows += [(name, groups[first]), (name, groups[first - draw(st.integers(1, len(groups) - 1))])]
    entries = entries_of(rows)
    most = max(Counter(entry.label for entry in entries).values())
    return entries, draw(st.integers(2, min(most_folds, most, len({unit(entry) for entry in entries}))))


@given(possible(PEOPLE, most_rows=40, some_without=True), st.randoms(use_true_random=False))
def test_each_video_is_tested_once_and_each_fold_is_a_fair_test(case, random):
    entries, folds = case
    try:
        found = assign_folds(entries, folds, seed=0)
    except KrespError as error:
        # Of few groups there may be no way, which the next test has.
        assert "no way was found" in str(error) and len({unit(entry) for entry in entries}) < 8
        return
    assert found.keys() == {entry.name for entry in entries}
    assert set(found.values()) == set(range(1, folds + 1))
    homes = {}
    for entry in entries:
        homes.setdefault(unit(entry), set()).add(found[entry.name])
    assert all(len(numbers) == 1 for numbers in homes.values())
    for fold in range(1, folds + 1):
        trained = {entry.label for entry in entries if found[entry.name] != fold}
        assert trained == {entry.label for entry in entries}
    # The same whatever the order of the videos.
    random.shuffle(entries)
    assert assign_folds(entries, folds, seed=0) == found


def unevenness(entries, found, folds):
    """Squared distance from even shares, of classes and of all; infinite where a fold is empty or a class not learned.

    Written apart from what is tested: sums over videos, and no counts of units.
    """
    total = 0.0
    sizes = Counter(found[entry.name] for entry in entries)
    if len(sizes) < folds:
        return np.inf
    total += sum((sizes[fold] - len(entries) / folds) ** 2 for fold in sizes) / len(entries)
    for label in {entry.label for entry in entries}:
        here = Counter(found[entry.name] for entry in entries if entry.label == label)
        if len(here) == 1:
            return np.inf
        number = here.total()
        total += sum((here[fold] - number / folds) ** 2 for fold in range(1, folds + 1)) / number
    return total


@given(possible("abcdefg", most_rows=18, most_folds=3))
def test_classes_are_as_even_as_any_way_to_deal_the_groups_makes_them(case):
    entries, folds = case
    groups = sorted({entry.group for entry in entries})
    best = np.inf
    for numbers in itertools.product(range(1, folds + 1), repeat=len(groups)):
        fold_of = dict(zip(groups, numbers, strict=True))
        best = min(best, unevenness(entries, {entry.name: fold_of[entry.group] for entry in entries}, folds))
    if best == np.inf:
        with pytest.raises(KrespError, match="no way was found to put"):
            assign_folds(entries, folds, seed=0)
    else:
        assert unevenness(entries, assign_folds(entries, folds, seed=0), folds) <= best + 1e-9


@given(st.lists(labels, min_size=2, max_size=40), st.integers(2, 6))
def test_videos_without_groups_are_dealt_class_by_class(names, folds):
    # Two of each class at least, and of one as many as there are folds.
    entries = entries_of([(name, None) for name in [*names, *names, *[names[0]] * folds]])
    assume(len(set(names)) > 1)
    found = assign_folds(entries, folds, seed=3)
    for label in set(names):
        counts = Counter(found[entry.name] for entry in entries if entry.label == label)
        sizes = [counts[fold] for fold in range(1, folds + 1)]
        assert max(sizes) - min(sizes) <= 1
    sizes = Counter(found.values()).values()
    assert max(sizes) - min(sizes) <= 1


def grid(groups, classes="ab"):
    return entries_of([(label, f"p{n}") for n in range(groups) for label in classes for _ in range(2)])


def test_equal_groups_are_dealt_evenly_and_otherwise_by_another_seed():
    entries = grid(10)
    found = [assign_folds(entries, 5, seed) for seed in range(4)]
    assert all(set(Counter(each.values()).values()) == {8} for each in found)
    assert len({tuple(sorted(each.items())) for each in found}) > 1
    assert assign_folds(entries, 5, 2) == found[2]


def test_a_fold_for_each_group_is_in_the_order_of_their_names():
    entries = entries_of([("a", "p2"), ("b", "p1"), ("a", "p1"), ("b", "p2"), ("a", "p3")])
    assert list(assign_folds(entries, "group", 0).values()) == [2, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("entries", "folds", "kind", "words"),
    [
        (grid(3), 4, UsageError, "--folds 4: there are only 3 groups; use at most 3"),
        (grid(3), 1, UsageError, "--folds 1: expected at least 2"),
        (grid(1), 2, KrespError, "all videos are of one group"),
        (grid(1), "group", KrespError, "all videos are of one group"),
        (entries_of([("a", None)] * 2 + [("b", None)] * 2), 3, UsageError, "no class has more than 2 videos"),
        (entries_of([("a", None)]), 2, KrespError, "at least two classes to cross-validate, found a"),
        (entries_of([]), 2, KrespError, "at least two classes to cross-validate, found none"),
        (entries_of([("a", None), ("b", None), ("b", None)]), 2, KrespError, "1 class with one video alone: a;"),
        (
            entries_of([("a", "p1"), ("a", "p1"), ("b", "p1"), ("b", "p2")]),
            2,
            KrespError,
            "1 class with one group alone, p1: a; with it tested, nothing is left to learn the class from",
        ),
        (
            entries_of([("a", "p1"), ("a", None), ("b", "p1"), ("b", "p2")]),
            "group",
            UsageError,
            "--folds group needs the group of each video, and 1 video of 4 without one, such as 001.mp4",
        ),
        # Any two of three groups together leave out a class.
        (
            entries_of([("a", "p1"), ("a", "p2"), ("b", "p2"), ("b", "p3"), ("c", "p3"), ("c", "p1")]),
            2,
            KrespError,
            "no way was found to put 3 groups into 2 folds",
        ),
    ],
)
def test_what_cannot_be_cross_validated_gets_a_sentence(entries, folds, kind, words):
    with pytest.raises(kind) as caught:
        assign_folds(entries, folds, 0)
    assert words in str(caught.value) and type(caught.value) is kind

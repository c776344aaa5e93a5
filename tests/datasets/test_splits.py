from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.datasets.splits import (
    Entry,
    Split,
    check_classes,
    check_leaks,
    choose_units,
    complete_splits,
    count,
    find_leaks,
    shorten,
)
from kresp3d.system.errors import KrespError

labels = st.sampled_from(["box", "jump", "run", "walk"])
groups = st.one_of(st.none(), st.sampled_from([f"p{i}" for i in range(8)]))
shares = st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9])


def entries_of(rows: list[tuple[str, str | None, Split | None]]) -> list[Entry]:
    return [Entry(Path(f"{i}.mp4"), f"{i}.mp4", *row) for i, row in enumerate(rows)]


def numbers(entries: list[Entry]) -> Counter[str | None]:
    return Counter(e.split for e in entries)


def grid(people: int, each: int, classes: str = "abcd") -> list[Entry]:
    return entries_of([(c, f"p{i}", None) for i in range(people) for c in classes for _ in range(each)])


@given(st.lists(st.tuples(labels, groups, st.none()), max_size=60), shares, shares, st.integers(0, 5))
def test_no_group_is_on_two_sides_and_every_class_keeps_a_training_video(
    rows: list[tuple[str, str | None, None]], validation: float, test: float, seed: int
) -> None:
    entries = entries_of(rows)
    done = complete_splits(entries, validation=validation, test=test, seed=seed)
    assert [(e.name, e.label, e.group) for e in done] == [(e.name, e.label, e.group) for e in entries]
    assert all(e.split is not None for e in done)
    assert find_leaks(done) == {}
    assert {e.label for e in done if e.split == "train"} == {e.label for e in entries}


@given(st.lists(st.tuples(labels, groups, st.sampled_from([None, "train", "validation", "test"])), max_size=60))
def test_splits_that_are_there_stay(rows: list[tuple[str, str | None, Split | None]]) -> None:
    done = complete_splits(entries_of(rows), validation=0.3, test=0.3, seed=0)
    has_validation = any(split == "validation" for _, _, split in rows)
    for (_, _, before), entry in zip(rows, done, strict=True):
        if before == "train" and not has_validation:
            assert entry.split in ("train", "validation")
        elif before is not None:
            assert entry.split == before


@given(st.integers(2, 30), st.integers(2, 6), st.sampled_from([0.1, 0.2, 0.35, 0.5]), st.integers(0, 3))
def test_videos_without_groups_are_split_class_by_class(each: int, classes: int, share: float, seed: int) -> None:
    units = {f"{c} {i}": {str(c): 1} for c in range(classes) for i in range(each)}
    chosen = Counter(name.split()[0] for name in choose_units(units, share, str(seed)))
    for c in range(classes):
        assert 1 <= chosen[str(c)] < each
        assert abs(chosen[str(c)] - share * each) <= 1
    # The sum is at least as near as by rounding in each class.
    rounded = classes * max(1, round(share * each))
    assert abs(chosen.total() - share * each * classes) <= abs(rounded - share * each * classes) + 1e-9


def test_the_share_of_equal_groups_is_exact() -> None:
    done = complete_splits(grid(people=20, each=2), validation=0.25, test=0.2, seed=0)
    assert numbers(done) == {"test": 32, "validation": 32, "train": 96}


def test_a_class_in_one_group_keeps_that_group_for_training() -> None:
    units = {"a": {"x": 5, "rare": 1}, "b": {"x": 5}, "c": {"x": 5}}
    assert all("a" not in choose_units(units, 0.5, str(seed)) for seed in range(10))


def test_each_class_gets_a_video_although_its_groups_are_large() -> None:
    units = {f"{c} {i}": {c: 50} for c in "ab" for i in range(2)}
    assert Counter(name[0] for name in choose_units(units, 0.1, "0")) == {"a": 1, "b": 1}


def test_the_choice_depends_on_the_seed_and_not_on_the_order() -> None:
    entries = grid(people=20, each=1)
    chosen = {
        seed: {e.group for e in complete_splits(entries, validation=0.2, test=0.2, seed=seed) if e.split == "test"}
        for seed in range(5)
    }
    assert len({frozenset(c) for c in chosen.values()}) > 1
    again = complete_splits(entries[::-1], validation=0.2, test=0.2, seed=3)
    assert {e.group for e in again if e.split == "test"} == chosen[3]


def test_a_new_video_of_a_group_follows_it() -> None:
    entries = entries_of([("a", "p1", "test"), ("b", "p2", "train"), ("a", "p1", None), ("b", "p2", None)])
    done = complete_splits(entries, validation=0, test=0.5, seed=0)
    assert [e.split for e in done] == ["test", "train", "test", "train"]


def test_a_test_split_that_is_there_is_not_enlarged() -> None:
    entries = entries_of([("a", None, "test")] + [("a", None, None)] * 10)
    assert numbers(complete_splits(entries, validation=0, test=0.5, seed=0)) == {"test": 1, "train": 10}


def test_shares_of_nothing_set_nothing_aside() -> None:
    assert numbers(complete_splits(grid(10, 1), validation=0, test=0, seed=0)) == {"train": 40}


def test_a_split_by_video_warns_of_leaks(caplog: pytest.LogCaptureFixture) -> None:
    complete_splits(grid(10, 1), validation=0.2, test=0.2, seed=0)
    assert caplog.text == ""
    complete_splits(entries_of([("a", None, None)] * 10), validation=0.2, test=0.2, seed=0)
    assert "the test split is made by video" in caplog.text
    assert "the validation split is made by video" in caplog.text


def test_a_split_that_cannot_be_made_warns(caplog: pytest.LogCaptureFixture) -> None:
    entries = entries_of([("a", "p1", None), ("b", "p2", None)])
    assert numbers(complete_splits(entries, validation=0.2, test=0.2, seed=0)) == {"train": 2}
    assert "no test split could be made" in caplog.text


def test_leaking_groups_are_refused_by_name() -> None:
    entries = entries_of([("a", "p1", "train"), ("a", "p1", "test"), ("a", "p2", "train"), ("a", None, "test")])
    assert find_leaks(entries) == {"p1": ("train", "test")}
    with pytest.raises(KrespError, match=r"videos.csv: 1 group on more than one side .* p1 \(train, test\); .*leak"):
        check_leaks(entries, allow=False, where="videos.csv")


def test_validation_counts_as_a_side() -> None:
    with pytest.raises(KrespError, match=r"p1 \(train, validation\)"):
        check_leaks(entries_of([("a", "p1", "train"), ("a", "p1", "validation")]), allow=False, where="x")


def test_leaking_groups_may_be_allowed(caplog: pytest.LogCaptureFixture) -> None:
    entries = entries_of([("a", "p1", "train"), ("a", "p1", "test")])
    check_leaks(entries, allow=True, where="videos.csv")
    assert "allow_group_leak" in caplog.text


def test_one_class_and_untrained_classes_are_refused() -> None:
    with pytest.raises(KrespError, match="expected at least two classes, found a"):
        check_classes(entries_of([("a", None, "train")]), "x")
    with pytest.raises(KrespError, match="1 class without a training video: b"):
        check_classes(entries_of([("a", None, "train"), ("b", None, "test")]), "x")


def test_untested_classes_and_absent_splits_warn(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "kresp3d"):
        check_classes(entries_of([("a", None, "train"), ("b", None, "train"), ("a", None, "test")]), "x")
        check_classes(entries_of([("a", None, "train"), ("b", None, "train")]), "y")
    # Nothing is lost without validation videos.
    assert [r.getMessage() for r in caplog.records] == [
        "x: 1 class without a test video: b",
        "y: there is no test split",
    ]


def test_long_lists_are_cut() -> None:
    assert shorten(["a", "b"]) == "a, b"
    assert shorten([str(i) for i in range(25)]).endswith("18, 19 and 5 more")
    assert (count(1, "class", "classes"), count(2, "class", "classes"), count(0, "video")) == (
        "1 class",
        "2 classes",
        "0 videos",
    )

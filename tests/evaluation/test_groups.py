"""Accuracy by group, and intervals that respect groups."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kresp3d.evaluation.groups import FEWEST_GROUPS, bootstrap_interval, group_units, measure_groups


def exact_quantiles(sums, sizes):
    """The 2.5 and 97.5 percentiles of the bootstrap over all possible draws of the units, each as likely."""
    means = [
        sum(sums[i] for i in draw) / sum(sizes[i] for i in draw)
        for draw in itertools.product(range(len(sums)), repeat=len(sums))
    ]
    return np.percentile(means, [2.5, 97.5])


def test_groups_are_counted_and_the_worst_comes_first():
    found = measure_groups(np.array([1, 0, 1, 1, 0, 1], bool), ["b", "b", "a", "a", "c", "d"])
    assert [(row.name, row.videos, row.correct, row.accuracy) for row in found.rows] == [
        ("c", 1, 0, 0.0),
        ("b", 2, 1, 0.5),
        ("a", 2, 2, 1.0),
        ("d", 1, 1, 1.0),
    ]
    assert found.spread == {
        "mean": 0.625,
        "standard_deviation": pytest.approx(np.sqrt((0.625**2 + 0.125**2 + 2 * 0.375**2) / 3)),
        "lowest": 0.0,
        "median": 0.75,
        "highest": 1.0,
    }
    assert found.interval is None and "at least 5" in found.reason and "there are 4" in found.reason


def test_the_interval_is_that_of_all_draws_of_whole_groups():
    groups = np.repeat(list("abcdef"), [4, 4, 4, 2, 6, 4])
    right = [4, 3, 1, 2, 2, 4]
    hits = np.concatenate([np.arange(size) < n for size, n in zip([4, 4, 4, 2, 6, 4], right, strict=True)])
    found = measure_groups(hits, groups.tolist())
    assert found.interval == pytest.approx(exact_quantiles(right, [4, 4, 4, 2, 6, 4]), abs=0.02)
    assert found.reason is None
    # Videos of a group are alike here, so this is wider than if all were independent.
    alone = measure_groups(hits, [str(number) for number in range(len(hits))])
    assert found.interval[1] - found.interval[0] > alone.interval[1] - alone.interval[0]


def test_the_interval_is_the_same_each_time_and_for_any_names():
    random = np.random.default_rng(1)
    hits, units = random.random(200) < 0.7, random.integers(0, 20, 200)
    units = group_units([str(unit) for unit in units])
    assert bootstrap_interval(hits, units) == bootstrap_interval(hits, units)
    assert (
        measure_groups(hits, [f"g{u}" for u in units]).interval
        == measure_groups(hits, [f"x{u}" for u in units]).interval
    )


def test_without_groups_there_is_nothing():
    assert measure_groups(np.array([True, False]), [None, None]) is None
    assert group_units([None]) is None


def test_videos_without_a_group_stand_for_themselves():
    units = group_units(["a", None, "a", None, "1"])
    assert units.tolist() == [0, 1, 0, 2, 3]
    found = measure_groups(np.array([1, 0, 1, 1, 0, 1, 1], bool), ["a", None, "a", None, "3", "b", "c"])
    assert (found.ungrouped, found.units, len(found.rows)) == (2, 6, 4)
    # A group's name may be any text, also a video's number.
    assert found.rows[0].name == "3"
    assert found.interval is not None


def test_one_group_has_no_deviation():
    found = measure_groups(np.array([True, False]), ["a", "a"])
    assert found.spread["standard_deviation"] is None
    assert found.interval is None


@pytest.mark.parametrize("hit", [True, False])
def test_equal_groups_give_no_interval_of_no_width(hit):
    found = measure_groups(np.full(10, hit), [str(i % FEWEST_GROUPS) for i in range(10)])
    assert found.interval is None and "same accuracy" in found.reason
    assert found.to_json()["video_top1_interval"] is None

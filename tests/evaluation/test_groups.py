"""Accuracy by group, and intervals that respect groups."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kresp3d.evaluation.groups import (
    FEWEST_GROUPS,
    difference_interval,
    fraction_interval,
    group_units,
    measure_groups,
)
from kresp3d.evaluation.metrics import wilson_interval


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
    assert found.interval is not None and found.reason is None


def test_of_equal_groups_the_difference_has_the_interval_of_a_t_test_of_their_means():
    means = np.array([0.5, 0.25, -0.25, 0.75, 0.0])
    values = np.repeat([[1, 1, 0, 0], [1, 0, 0, 0], [-1, 0, 0, 0], [1, 1, 1, 0], [1, -1, 0, 0]], 1, axis=0).ravel()
    found = difference_interval(values, np.repeat(np.arange(5), 4))
    assert found == pytest.approx(stats.ttest_1samp(means, 0).confidence_interval(0.95))


def test_of_unequal_groups_the_difference_has_the_error_of_a_regression_that_is_robust_to_clusters():
    random = np.random.default_rng(0)
    sizes = [1, 4, 7, 2, 5, 3]
    units, values = np.repeat(np.arange(6), sizes), random.integers(-1, 2, sum(sizes))
    # Of a regression on a constant alone: the sandwich of the residuals' sums over clusters, times G / (G - 1).
    residuals = values - values.mean()
    meat = sum(residuals[units == unit].sum() ** 2 for unit in range(6))
    half = stats.t(5).ppf(0.975) * np.sqrt(6 / 5 * meat) / len(values)
    assert difference_interval(values, units) == pytest.approx((values.mean() - half, values.mean() + half))


def test_the_fractions_inside_the_interval_are_those_that_a_test_of_so_many_independent_videos_accepts():
    sizes, right = np.array([4, 4, 4, 2, 6, 4]), np.array([4, 3, 1, 2, 2, 4])
    hits = np.concatenate([np.arange(size) < n for size, n in zip(sizes, right, strict=True)])
    units = np.repeat(np.arange(6), sizes)
    mean = right.sum() / sizes.sum()
    error = np.sqrt(6 / 5 * ((right - mean * sizes) ** 2).sum()) / sizes.sum()
    worth = mean * (1 - mean) / error**2
    assert worth < sizes.sum()
    for bound in fraction_interval(hits, units):
        # Both ends are where the score statistic is just at the quantile.
        assert abs(mean - bound) / np.sqrt(bound * (1 - bound) / worth) == pytest.approx(stats.t(5).ppf(0.975))


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)).filter(any), min_size=FEWEST_GROUPS, max_size=12))
def test_the_interval_of_groups_is_never_narrower_than_that_of_independent_videos(groups):
    hits = np.concatenate([[True] * right + [False] * wrong for right, wrong in groups])
    low, high = fraction_interval(hits, np.repeat(np.arange(len(groups)), [sum(group) for group in groups]))
    inner = wilson_interval(int(hits.sum()), len(hits))
    assert 0 <= low <= inner[0] + 1e-9 and inner[1] - 1e-9 <= high <= 1
    assert low <= hits.mean() <= high


@pytest.mark.parametrize("number", [3, 5, 10])
@pytest.mark.parametrize(("mean", "alike"), [(0.5, 0.3), (0.8, 0.1), (0.95, 0.3)])
def test_few_groups_give_intervals_that_hold_the_true_fraction(number, mean, alike):
    random = np.random.default_rng(number)
    sizes = random.integers(2, 25, (400, number))
    # The correlation of two videos of a group is `alike`.
    strength = 1 / alike - 1
    of_group = random.beta(mean * strength, (1 - mean) * strength, sizes.shape)
    right = random.binomial(sizes, of_group)

    def holds(n, k):
        hits = np.concatenate([np.arange(size) < found for size, found in zip(n, k, strict=True)])
        low, high = fraction_interval(hits, np.repeat(np.arange(number), n))
        return low <= mean <= high

    share = fmean(holds(n, k) for n, k in zip(sizes, right, strict=True))
    # 95 % are wanted; of 400 tries, three standard deviations less are still chance.
    assert share > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)


def test_names_and_their_order_change_no_interval():
    random = np.random.default_rng(1)
    hits, groups = random.random(200) < 0.7, random.integers(0, 20, 200)
    order = random.permutation(200)
    one = measure_groups(hits, [f"g{group}" for group in groups]).interval
    assert measure_groups(hits[order], [f"x{99 - group}" for group in groups[order]]).interval == pytest.approx(one)


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


@pytest.mark.parametrize(("hit", "expected"), [(True, (0.28313, 1.0)), (False, (0.0, 0.71687))])
def test_where_all_videos_are_alike_each_group_counts_as_one_of_them(hit, expected):
    # 4 / (4 + t²), with Student's t of 3 degrees of freedom, 3.18245.
    found = measure_groups(np.full(40, hit), [str(i % 4) for i in range(40)])
    assert found.interval == pytest.approx(expected, abs=1e-4)


def test_groups_with_the_same_difference_show_no_spread():
    assert difference_interval(np.tile([1, 0, 0], 5), np.repeat(np.arange(5), 3)) is None


@pytest.mark.parametrize("number", [1, 2])
def test_fewer_than_three_groups_give_no_interval(number):
    found = measure_groups(np.arange(10) < 7, [str(i % number) for i in range(10)])
    assert found.interval is None and "at least 3" in found.reason and f"there are {number}" in found.reason
    assert found.to_json()["video_top1_interval"] is None

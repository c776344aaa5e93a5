"""Curves by hand, and beside scikit-learn's own areas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from kresp3d.evaluation.curves import GRID, measure_curves, one_versus_rest

#: By falling score: right, wrong, right, and two of equal score, one right and one wrong.
SCORES = np.array([0.9, 0.8, 0.6, 0.3, 0.3])
POSITIVE = np.array([True, False, True, True, False])


def test_points_by_hand():
    curve = one_versus_rest(SCORES, POSITIVE)
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.6, 0.3]
    assert curve.precision == pytest.approx([1, 1 / 2, 2 / 3, 3 / 5])
    assert curve.recall == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1])
    assert curve.average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    # Of the 6 pairs of a right and a wrong one, 0.9 wins two, 0.6 one, and 0.3 is even with one.
    assert curve.auc == pytest.approx((2 + 1 + 0.5) / 6)
    assert curve.precision_at(np.array([0.0, 1 / 3, 0.4, 1.0])) == pytest.approx([1, 1, 2 / 3, 3 / 5])


@pytest.mark.parametrize(
    ("precision", "point"), [(1.0, (0.9, 1 / 3)), (0.65, (0.6, 2 / 3)), (2 / 3, (0.6, 2 / 3)), (0.6, (0.3, 1.0))]
)
def test_the_lowest_threshold_with_a_precision(precision, point):
    assert one_versus_rest(SCORES, POSITIVE).recall_at(precision) == pytest.approx(point)


def test_a_precision_that_no_threshold_gives():
    assert one_versus_rest(np.array([0.9, 0.1, 0.2]), np.array([False, True, False])).recall_at(0.9) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40), st.floats(0.05, 1.0))
def test_areas_are_those_of_scikit_learn_and_thresholds_keep_their_promise(pairs, wanted):
    scores, positive = np.array([s / 6 for s, _ in pairs]), np.array([p for _, p in pairs])
    curve = one_versus_rest(scores, positive)
    if positive.all() or not positive.any():
        assert curve is None
        return
    assert curve.average_precision == pytest.approx(average_precision_score(positive, scores))
    assert curve.auc == pytest.approx(roc_auc_score(positive, scores))
    # By trying every threshold.
    tried = {t: positive[scores >= t].mean() for t in scores}
    good = [t for t, precision in tried.items() if precision >= wanted]
    point = curve.recall_at(wanted)
    if not good:
        assert point is None
    else:
        assert point == (min(good), pytest.approx((positive & (scores >= min(good))).sum() / positive.sum()))


def test_classes_without_videos_have_no_curve_and_no_part_in_the_mean():
    scores = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.8, 0.1, 0.1], [0.4, 0.5, 0.1]])
    found = measure_curves(scores, np.array([0, 0, 1, 1]), precision=0.6)
    first, second, third = found.classes
    assert (third.average_precision, third.auc, third.threshold, third.recall) == (None, None, None, None)
    # Of class 0 the scores fall: wrong (0.8), right (0.7), wrong (0.4), right (0.3).
    assert (first.average_precision, first.auc) == (pytest.approx(0.5), pytest.approx(0.25))
    assert first.threshold is None
    assert found.mean_average_precision == pytest.approx(np.mean([first.average_precision, second.average_precision]))
    assert found.mean_auc == pytest.approx(np.mean([first.auc, second.auc]))
    assert found.mean_precision.shape == found.mean_true_positive_rate.shape == GRID.shape


def test_one_class_and_constant_scores():
    alone = measure_curves(np.ones((3, 1)), np.zeros(3, int), precision=0.5)
    assert (alone.mean_average_precision, alone.mean_auc, len(alone.mean_precision)) == (None, None, 0)
    # With constant scores there is one threshold: all videos are taken for the class.
    same = measure_curves(np.full((4, 2), 0.5), np.array([0, 1, 1, 1]), precision=0.5)
    assert [row.auc for row in same.classes] == [0.5, 0.5]
    assert [row.average_precision for row in same.classes] == [0.25, 0.75]
    assert [(row.threshold, row.recall) for row in same.classes] == [(None, None), (0.5, 1.0)]

"""The metrics of two classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef, precision_score, recall_score

from kresp3d.evaluation.binary import check_positive, measure_binary, positive_class
from kresp3d.system.errors import UsageError


def measured(confusion, positive=1):
    names = ("walk", "fight")
    return measure_binary(np.array(confusion), names, positive, chosen=False, auc=0.5, average_precision=None)


@pytest.mark.parametrize("positive", [0, 1])
def test_metrics_are_those_of_scikit_learn(positive):
    random = np.random.default_rng(0)
    true, said = random.integers(0, 2, 60), random.integers(0, 2, 60)
    confusion = np.array([[((true == i) & (said == j)).sum() for j in (0, 1)] for i in (0, 1)])
    found = measured(confusion, positive)
    assert found.positive == ("walk", "fight")[positive]
    assert found.sensitivity == pytest.approx(recall_score(true, said, pos_label=positive))
    assert found.specificity == pytest.approx(recall_score(true, said, pos_label=1 - positive))
    assert found.precision == pytest.approx(precision_score(true, said, pos_label=positive))
    assert found.f1 == pytest.approx(f1_score(true, said, pos_label=positive))
    assert found.mcc == pytest.approx(matthews_corrcoef(true, said))


def test_counts_by_hand():
    found = measured([[50, 10], [5, 15]])
    assert (found.true_positives, found.false_positives, found.false_negatives, found.true_negatives) == (15, 10, 5, 50)
    assert (found.sensitivity, found.specificity, found.precision) == (0.75, pytest.approx(5 / 6), 0.6)
    values = found.to_json()
    assert (values["positive"], values["negative"], values["auc"]) == ("fight", "walk", 0.5)


def test_what_has_no_denominator_is_none():
    only_negative = measured([[4, 0], [0, 0]])
    assert (only_negative.sensitivity, only_negative.precision, only_negative.f1, only_negative.mcc) == (None,) * 4
    assert only_negative.specificity == 1.0
    assert measured([[3, 0], [2, 0]]).mcc is None


def test_the_positive_class_is_the_rarer_one_in_training_unless_chosen():
    assert positive_class(("a", "b"), np.array([0, 1, 1]), None) == 0
    assert positive_class(("a", "b"), np.array([0, 0, 1]), None) == 1
    assert positive_class(("a", "b"), np.array([0, 1]), None) == 0
    assert positive_class(("a", "b"), np.array([0, 1, 1]), "b") == 1


def test_a_positive_class_that_is_none_gets_a_sentence():
    check_positive(("a", "b"), "b")
    check_positive(("a", "b", "c"), None)
    with pytest.raises(UsageError, match="two classes, and this one has 3"):
        check_positive(("a", "b", "c"), "b")
    with pytest.raises(UsageError, match="must be 'a' or 'b', received 'z'"):
        check_positive(("a", "b"), "z")

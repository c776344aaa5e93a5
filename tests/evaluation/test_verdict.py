"""The sentence on a network, and the tests behind it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kresp3d.evaluation.baselines import measure_baselines
from kresp3d.evaluation.verdict import compare, make_verdict

CLASSES = ("fight", "walk")


def mcnemar(gained, lost):
    """The two-sided exact p-value, by adding up the binomial distribution."""
    n = gained + lost
    tail = sum(math.comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n
    return min(1.0, 2 * tail)


def hits_of(both, gained, lost, neither):
    """Which videos each of two classifiers recognises, for numbers of videos."""
    first = np.repeat([True, True, False, False], [both, gained, lost, neither])
    return first, np.repeat([True, False, True, False], [both, gained, lost, neither])


def verdict(labels, predicted, *, neighbours=None, train=None, classes=CLASSES, units=None, **more):
    labels, predicted = np.array(labels), np.array(predicted)
    train = labels if train is None else np.array(train)
    reason = "none" if neighbours is None else None
    neighbours = None if neighbours is None else np.array(neighbours)
    baselines = measure_baselines(labels, train, len(classes), neighbours, reason)
    return make_verdict(predicted, labels, classes, baselines, units, **more)


@pytest.mark.parametrize(
    ("gained", "lost", "outcome"),
    [
        (5, 0, "undecided"),
        (6, 0, "better"),
        (0, 6, "worse"),
        (9, 2, "undecided"),
        (10, 2, "better"),
        (0, 0, "undecided"),
    ],
)
def test_better_and_worse_are_said_where_the_exact_test_allows_it(gained, lost, outcome):
    hits, others = hits_of(7, gained, lost, 3)
    found = compare(hits, others, None, baseline="majority", title="m")
    assert found.p_value == pytest.approx(mcnemar(gained, lost))
    assert (found.p_value < 0.05) == (outcome != "undecided")
    assert found.outcome == outcome
    assert found.difference == pytest.approx((gained - lost) / (10 + gained + lost))
    assert found.accuracy == pytest.approx((7 + lost) / len(hits))


def test_a_gain_that_comes_from_one_group_alone_is_none():
    # Video by video, 12 gained and none lost could hardly be chance; but they are all of one person.
    hits, others = hits_of(48, 12, 0, 0)
    person = np.where(hits & ~others, 0, 1 + np.arange(60) % 9)
    assert compare(hits, others, None, baseline="majority", title="m").outcome == "better"
    found = compare(hits, others, person, baseline="majority", title="m")
    assert found.outcome == "undecided"
    assert found.interval[0] <= 0 < found.interval[1]
    spread = compare(hits, others, np.arange(60) % 10, baseline="majority", title="m")
    assert spread.outcome == "better" and spread.interval[0] > 0


def test_a_network_below_the_more_frequent_class_is_called_worse():
    # 41 videos: 29 fights of 41 are 70.7 %, and the network has 17 right, 41.5 %.
    labels = np.repeat([0, 1], [29, 12])
    predicted = np.repeat([0, 1, 1, 0], [10, 19, 7, 5])
    found = verdict(labels, predicted)
    assert (predicted == labels).mean() == pytest.approx(0.415, abs=0.0005)
    assert found.better is False
    # 19 lost and 7 gained.
    assert found.comparisons[1].p_value == pytest.approx(mcnemar(7, 19)) and mcnemar(7, 19) < 0.05
    assert found.sentence == (
        "The network is worse than always saying 'fight' (70.7 %) and not better than chance (50.0 %)."
    )


def test_better_than_chance_but_not_than_the_majority():
    labels = np.repeat([0, 1], [70, 30])
    found = verdict(labels, np.repeat([0, 1, 0], [68, 3, 29]))
    assert found.sentence == (
        "The network is better than chance (50.0 %), but not better than always saying 'fight' (70.0 %)."
    )
    assert [each.outcome for each in found.comparisons] == ["better", "undecided"]


def test_the_best_baseline_is_named_with_the_difference():
    labels = np.repeat([0, 1], [50, 50])
    neighbours = np.repeat([0, 1, 0], [50, 10, 40])
    found = verdict(labels, np.repeat([0, 1, 0], [50, 45, 5]), neighbours=neighbours)
    assert found.better is True
    assert found.sentence == (
        "The network is 35.0 points better than the best simple baseline, 3 nearest neighbours (60.0 %)."
    )


def test_baselines_that_are_not_beaten_are_joined():
    labels = np.array([0, 0, 0, 1])
    found = verdict(labels, [0, 0, 0, 1], neighbours=[0, 0, 1, 0])
    assert found.better is False
    assert found.sentence.startswith(
        "The network is not clearly better than always saying 'fight' (75.0 %) or chance (50.0 %) or 3 nearest"
    )
    assert found.sentence.endswith("neighbours (50.0 %): 4 videos cannot tell them apart.")


def test_one_word_for_every_video_is_told():
    labels = np.repeat([0, 1], [30, 10])
    found = verdict(labels, np.zeros(40, int))
    assert found.sentence.endswith("It says 'fight' of every video.")


def test_a_network_of_one_word_is_not_better_however_many_videos_are_of_that_class():
    # Rare in training, frequent here: right for 90 %, where "fight" is for 10 % and chance for 50 %.
    labels = np.repeat([0, 1], [3, 27])
    found = verdict(labels, np.ones(30, int), train=[0] * 9 + [1])
    assert {each.outcome for each in found.comparisons} == {"better"}
    assert found.better is False and "says 'walk' of every video" in found.sentence and "90.0 %" in found.sentence
    assert verdict(labels, labels, train=[0] * 9 + [1]).better is True


@pytest.mark.parametrize("right", [0, 12, 30])
def test_videos_of_one_class_do_not_show_whether_classes_are_told_apart(right):
    predicted = np.where(np.arange(30) < right, 1, 0)
    found = verdict(np.ones(30, int), predicted, train=[0] * 9 + [1])
    assert found.better is None and f"says so of {right} of 30" in found.sentence and "'walk'" in found.sentence
    assert len(found.comparisons) == 2


def test_what_was_trained_on_is_told():
    labels = np.repeat([0, 1], [30, 30])
    found = verdict(labels, labels, on_training_videos=True)
    assert found.sentence.startswith("On videos that it was trained on, the network is 50.0 points better")


@pytest.mark.parametrize(("number", "words"), [(1, "of one group, too few"), (2, "of only 2 groups, too few"), (3, "")])
def test_few_groups_are_told(number, words):
    labels = np.repeat([0, 1], [30, 30])
    # One is wrong in each half.
    predicted = labels.copy()
    predicted[[0, 59]] = 1 - predicted[[0, 59]]
    found = verdict(labels, predicted, units=np.arange(60) % number)
    assert found.better is True
    assert words in found.sentence
    assert ("too few" in found.sentence) == bool(words)


def test_one_class_leaves_nothing_to_say():
    found = verdict([0, 0], [0, 0], classes=("walk",), neighbours=[0, 0])
    assert (found.better, found.comparisons) == (None, ())
    assert "one class" in found.sentence


def test_names_do_no_harm_to_a_terminal():
    assert "\x1b" not in verdict([0, 0, 1], [0, 1, 1], classes=("\x1b[2Jfight", "walk")).sentence

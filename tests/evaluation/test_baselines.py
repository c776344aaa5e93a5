"""Simple baselines, on arrays small enough to be solved by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kresp3d.evaluation.baselines import measure_baselines, nearest_neighbours


def test_the_majority_is_that_of_training_and_is_measured_on_the_given_videos():
    # Class 1 leads in training, class 0 among the measured videos.
    found = measure_baselines(np.array([0, 0, 0, 1]), np.array([1, 1, 1, 0, 2]), 3, np.array([0, 0, 1, 1]), None)
    assert found.chance == pytest.approx(1 / 3)
    assert found.majority == 1
    assert found.majority_hits.tolist() == [False, False, False, True]
    assert (found.majority_accuracy, found.neighbours_accuracy) == (0.25, 0.75)
    assert found.to_json("abc")["majority"] == {"class": "b", "accuracy": 0.25}


def test_of_equally_frequent_classes_the_first_is_taken():
    assert measure_baselines(np.array([0]), np.array([2, 1, 2, 1]), 3, None, "why").majority == 1


def test_without_neighbours_there_is_the_reason():
    found = measure_baselines(np.array([0]), np.array([0]), 1, None, "too many")
    assert found.neighbours_accuracy is None
    assert found.to_json(["a"])["neighbours"]["left_out"] == "too many"
    for neighbours, reason in ((None, None), (np.array([0]), "too many")):
        with pytest.raises(ValueError, match="either"):
            measure_baselines(np.array([0]), np.array([0]), 1, neighbours, reason)


def test_two_of_three_neighbours_outvote_the_third():
    # To 0.9 the distances are 0.1 (class 1), 1.0 and 1.1 (class 0), and far away another of class 1. The weights are 10
    # for class 1 and 1 + 0.909 for class 0; to -1 they are 1 + 1.111 for class 0 and 0.5 for class 1.
    known, labels = np.array([[1.0], [-0.1], [-0.2], [50.0]]), np.array([1, 0, 0, 1])
    assert nearest_neighbours(known, labels, np.array([[0.9], [-1.0], [40.0]])).tolist() == [1, 0, 1]


def test_of_three_neighbours_of_three_classes_the_nearest_counts():
    known = np.array([[0.0], [2.0], [5.0]])
    assert nearest_neighbours(known, np.array([2, 1, 0]), np.array([[0.1], [1.8], [6.0]])).tolist() == [2, 1, 0]


def test_fewer_than_three_training_videos_and_equal_features_are_no_failure():
    assert nearest_neighbours(np.zeros((1, 4)), np.array([1]), np.ones((2, 4))).tolist() == [1, 1]
    assert nearest_neighbours(np.zeros((2, 4)), np.array([1, 1]), np.zeros((2, 4))).tolist() == [1, 1]


def test_neighbours_equal_a_vote_by_numpy():
    random = np.random.default_rng(0)
    known, asked, labels = random.random((40, 5)), random.random((30, 5)), random.integers(0, 4, 40)
    distances = np.sqrt(((asked[:, None] - known[None]) ** 2).sum(axis=2))
    votes = np.zeros((30, 4))
    for row, near in enumerate(np.argsort(distances, axis=1)[:, :3]):
        for video in near:
            votes[row, labels[video]] += 1 / distances[row, video]
    assert nearest_neighbours(known, labels, asked).tolist() == votes.argmax(axis=1).tolist()

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kresp3d.evaluation.metrics import (
    confusion_matrix,
    evaluate_scores,
    top_k_hits,
    video_scores,
    wilson_interval,
)
from kresp3d.system.errors import KrespError

seeds = st.integers(0, 2**32 - 1)


def few_valued_scores(seed, rows, classes):
    """Scores of few different values, so that ties are common."""
    return np.random.default_rng(seed).integers(0, 4, (rows, classes)).astype(float)


def softmax(logits):
    """Scores as a network gives them."""
    powers = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


class TestTopK:
    def test_hand_made_case(self):
        scores = [[0.1, 0.5, 0.4], [0.1, 0.5, 0.4], [0.1, 0.5, 0.4]]
        assert top_k_hits(scores, [0, 1, 2], 1).tolist() == [False, True, False]
        assert top_k_hits(scores, [0, 1, 2], 2).tolist() == [False, True, True]
        assert top_k_hits(scores, [0, 1, 2], 3).tolist() == [True, True, True]

    @given(seed=seeds, rows=st.integers(1, 8), classes=st.integers(1, 7), data=st.data())
    def test_agrees_with_sorting_by_score_then_index(self, seed, rows, classes, data):
        scores = few_valued_scores(seed, rows, classes)
        labels = np.random.default_rng(seed).integers(0, classes, rows)
        k = data.draw(st.integers(1, classes))
        expected = [
            label in sorted(range(classes), key=lambda c: (-row[c], c))[:k]
            for row, label in zip(scores, labels, strict=True)
        ]
        assert top_k_hits(scores, labels, k).tolist() == expected

    @given(seed=seeds, classes=st.integers(1, 7))
    def test_top_1_agrees_with_argmax(self, seed, classes):
        scores = few_valued_scores(seed, 10, classes)
        labels = np.random.default_rng(seed).integers(0, classes, 10)
        assert top_k_hits(scores, labels, 1).tolist() == (scores.argmax(axis=1) == labels).tolist()

    def test_constant_scores_are_right_for_k_classes_only(self):
        labels = np.arange(10)
        assert top_k_hits(np.zeros((10, 10)), labels, 1).sum() == 1
        assert top_k_hits(np.zeros((10, 10)), labels, 5).sum() == 5

    @pytest.mark.parametrize("k", [0, 4])
    def test_refuses_k_outside_the_classes(self, k):
        with pytest.raises(ValueError, match="from 1 to the 3 classes"):
            top_k_hits([[0.1, 0.2, 0.7]], [0], k)

    @pytest.mark.parametrize("labels", [[3, 0], [-1, 0], [0], [0.0, 1.0], [[0], [1]]])
    def test_refuses_labels_that_do_not_fit(self, labels):
        with pytest.raises(ValueError, match="labels"):
            top_k_hits(np.zeros((2, 3)), labels, 1)

    def test_refuses_nan_which_would_rank_first(self):
        with pytest.raises(KrespError, match="NaN"):
            top_k_hits([[np.nan, 0.0]], [0], 1)


class TestVideoScores:
    def test_agrees_with_a_loop(self):
        rng = np.random.default_rng(0)
        scores, index = softmax(rng.normal(size=(9, 4))), np.array([2, 0, 1, 2, 0, 1, 2, 2, 0])
        for video, row in enumerate(video_scores(scores, index)):
            clips = [scores[i] for i in range(9) if index[i] == video]
            np.testing.assert_allclose(row, sum(clips) / len(clips), rtol=1e-14)

    @given(seed=seeds, videos=st.integers(1, 5), clips=st.integers(1, 12))
    @settings(max_examples=50)
    def test_any_order_of_clips_gives_the_same_bits(self, seed, videos, clips):
        rng = np.random.default_rng(seed)
        index = np.repeat(np.arange(videos), clips)
        scores = softmax(rng.normal(scale=5, size=(len(index), 6)))
        order = rng.permutation(len(index))
        assert np.array_equal(video_scores(scores, index), video_scores(scores[order], index[order]))

    @given(seed=seeds)
    @settings(max_examples=20)
    def test_stays_a_distribution(self, seed):
        scores = softmax(np.random.default_rng(seed).normal(scale=20, size=(12, 5)))
        np.testing.assert_allclose(video_scores(scores, np.arange(12) % 4).sum(axis=1), 1.0, rtol=1e-12)

    def test_refuses_a_video_without_clips(self):
        with pytest.raises(ValueError, match="no clip of video 1"):
            video_scores([[1.0], [1.0]], [0, 2])


class TestConfusionMatrix:
    def test_agrees_with_a_loop(self):
        rng = np.random.default_rng(1)
        labels, predicted = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
        expected = np.zeros((4, 4), int)
        for label, guess in zip(labels, predicted, strict=True):
            expected[label, guess] += 1
        assert np.array_equal(confusion_matrix(labels, predicted, 4), expected)

    def test_rows_are_the_true_classes_and_absent_classes_stay(self):
        assert confusion_matrix([0, 0], [1, 1], 3).tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 0]]

    def test_refuses_a_class_outside(self):
        with pytest.raises(ValueError, match="predicted"):
            confusion_matrix([0], [3], 3)


class TestWilson:
    # Published worked values (Newcombe 1998, table I, method 3).
    @pytest.mark.parametrize(
        ("hits", "trials", "low", "high"),
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
    )
    def test_published_values(self, hits, trials, low, high):
        assert wilson_interval(hits, trials) == pytest.approx((low, high), abs=5e-5)

    @given(trials=st.integers(1, 10_000), data=st.data())
    def test_ends_solve_the_score_equation(self, trials, data):
        hits = data.draw(st.integers(0, trials))
        share = hits / trials
        low, high = wilson_interval(hits, trials)
        assert 0 <= low <= share <= high <= 1
        for end in (low, high):
            if 0 < end < 1:
                assert abs(share - end) == pytest.approx(
                    1.959963984540054 * math.sqrt(end * (1 - end) / trials), rel=1e-6
                )

    @pytest.mark.parametrize(("hits", "trials"), [(0, 0), (2, 1), (-1, 3)])
    def test_refuses_impossible_counts(self, hits, trials):
        with pytest.raises(ValueError, match="hits"):
            wilson_interval(hits, trials)


def one_sure(classes, *choices, sure=0.7):
    """One row for each choice: that class has `sure`, the others share the rest."""
    rows = np.full((len(choices), classes), (1 - sure) / (classes - 1))
    rows[np.arange(len(choices)), choices] = sure
    return rows


def hand_made():
    # walk/a: 2 of 2 clips right; walk/b: both taken for wave; wave/a: 1 of 2, the mean is right; "run" has no video.
    scores = np.vstack([one_sure(3, 1, 1), one_sure(3, 2, 2), one_sure(3, 2, sure=0.9), one_sure(3, 1, sure=0.6)])
    return evaluate_scores(
        scores,
        [0, 0, 1, 1, 2, 2],
        [1, 1, 2],
        ("run", "walk", "wave"),
        ("walk/a", "walk/b", "wave/a"),
        split="validation",
    )


class TestEvaluation:
    def test_hand_made_shares(self):
        result = hand_made()
        assert (result.videos, result.clips, result.clips_per_video, result.k) == (3, 6, 2.0, 3)
        assert result.clip_top1 == 3 / 6
        assert result.video_top1 == 2 / 3
        assert result.clip_top5 == result.video_top5 == 1.0
        assert result.video_top1_interval == wilson_interval(2, 3)
        assert result.mean_class_top1 == (1 / 2 + 1) / 2
        assert result.confusion.tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 1]]

    def test_hand_made_per_class_rows(self):
        run, walk, wave = hand_made().per_class
        assert (run.videos, run.clip_top1, run.video_top1, run.precision, run.confused_with) == (
            0,
            None,
            None,
            None,
            None,
        )
        assert (walk.videos, walk.clip_top1, walk.video_top1, walk.precision) == (2, 0.5, 0.5, 1.0)
        assert (walk.confused_with, walk.confused) == ("wave", 1)
        assert (wave.videos, wave.clip_top1, wave.recall, wave.precision) == (1, 0.5, 1.0, 0.5)

    def test_predictions_name_the_wrong_and_sure_first(self):
        result = hand_made()
        assert [p.correct for p in result.predictions()] == [True, False, True]
        (worst,) = result.worst_predictions()
        assert (worst.name, worst.label, worst.predicted) == ("walk/b", "walk", "wave")
        assert worst.score == pytest.approx(0.7)
        assert worst.label_score == pytest.approx(0.15)

    def test_confused_pairs_are_sorted_by_count(self):
        scores = one_sure(3, 1, 1, 0, 2, 0)
        result = evaluate_scores(scores, np.arange(5), [0, 0, 1, 1, 2], "abc", [f"v{i}" for i in range(5)])
        pairs = [(p.label, p.predicted, p.count, p.share) for p in result.confused_pairs()]
        assert pairs == [("a", "b", 2, 1.0), ("c", "a", 1, 1.0), ("b", "a", 1, 0.5), ("b", "c", 1, 0.5)]
        assert len(result.confused_pairs(limit=2)) == 2

    def test_json_is_strict_and_complete(self):
        values = json.loads(json.dumps(hand_made().to_json(), allow_nan=False))
        assert {key: values[key] for key in ("split", "classes", "videos", "clips", "top_k")} == {
            "split": "validation",
            "classes": 3,
            "videos": 3,
            "clips": 6,
            "top_k": 3,
        }
        assert values["video_top1"] == pytest.approx(2 / 3)
        assert values["per_class"][1]["class"] == "walk"
        assert values["per_class"][1]["recall"] == 0.5
        assert values["confusion"] == [[0, 0, 0], [0, 1, 1], [0, 0, 1]]

    def test_top_5_with_many_classes_differs_from_top_1(self):
        scores = np.tile(np.arange(10, 0, -1) / 55, (10, 1))
        result = evaluate_scores(scores, np.arange(10), np.arange(10), "abcdefghij", [str(i) for i in range(10)])
        assert (result.k, result.video_top1, result.video_top5) == (5, 0.1, 0.5)

    def test_one_class_and_one_video(self):
        result = evaluate_scores([[1.0]], [0], [0], ["walk"], ["a"])
        assert (result.k, result.clip_top1, result.video_top5) == (1, 1.0, 1.0)

    @given(seed=seeds)
    @settings(max_examples=30)
    def test_order_of_clips_does_not_matter(self, seed):
        rng = np.random.default_rng(seed)
        index, labels = np.repeat(np.arange(6), 4), rng.integers(0, 7, 6)
        scores, order = softmax(rng.normal(size=(24, 7))), rng.permutation(24)
        names = [f"v{i}" for i in range(6)]
        first = evaluate_scores(scores, index, labels, "abcdefg", names)
        second = evaluate_scores(scores[order], index[order], labels, "abcdefg", names)
        assert first.to_json() == second.to_json()
        assert first.predictions() == second.predictions()

    @given(seed=seeds)
    @settings(max_examples=30)
    def test_shares_agree_with_the_confusion_matrix(self, seed):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 4, 20)
        result = evaluate_scores(
            softmax(rng.normal(size=(20, 4))), np.arange(20), labels, "abcd", [str(i) for i in range(20)]
        )
        assert result.video_top1 == pytest.approx(np.trace(result.confusion) / 20)
        assert result.confusion.sum(axis=1).tolist() == [int((labels == c).sum()) for c in range(4)]
        assert result.clip_top1 == result.video_top1 <= result.video_top5

    def test_names_the_video_whose_scores_are_nan(self):
        scores = one_sure(3, 0, 1)
        scores[1, 2] = np.nan
        with pytest.raises(KrespError, match="first for video 'b'"):
            evaluate_scores(scores, [0, 1], [0, 1], "xyz", "ab")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"clip_scores": np.ones((2, 3))}, "apply softmax"),
            ({"clip_scores": [[2.0, -1.0, 0.0]] * 2}, "apply softmax"),
            ({"clip_scores": one_sure(4, 0, 1)}, r"\[2, 3\], received \[2, 4\]"),
            ({"clip_scores": one_sure(3, 0, 1, 2)}, r"\[2, 3\], received \[3, 3\]"),
            ({"video_index": [0, 2]}, "video_index"),
            ({"video_index": [0, 0]}, "names 1 videos, video_names 2"),
            ({"video_labels": [0, 3]}, "video_labels"),
            ({"video_labels": [0]}, "video_labels"),
            ({"classes": ["x", "x", "y"]}, "differ"),
            ({"video_names": []}, "at least one video"),
        ],
    )
    def test_refuses_what_does_not_fit_together(self, change, message):
        arguments = {
            "clip_scores": one_sure(3, 0, 1),
            "video_index": [0, 1],
            "video_labels": [0, 1],
            "classes": ["x", "y", "z"],
            "video_names": ["a", "b"],
        }
        with pytest.raises(ValueError, match=message):
            evaluate_scores(**(arguments | change))

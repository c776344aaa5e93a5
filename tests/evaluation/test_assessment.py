"""An evaluation with what it takes to judge it, as plain values and in odd cases."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from kresp3d.evaluation.assessment import assess
from kresp3d.evaluation.metrics import evaluate_scores
from kresp3d.evaluation.report import write_report


def scores_of(videos, classes, seed=0):
    random = np.random.default_rng(seed)
    values = random.random((videos, classes)) ** 2 + 1e-3
    return values / values.sum(axis=1, keepdims=True), random.integers(0, classes, videos)


def assessed(scores, labels, groups=None, **more):
    scores = np.asarray(scores, float)
    videos, classes = scores.shape
    names = [f"v{number}" for number in range(videos)]
    result = evaluate_scores(scores, np.arange(videos), labels, [f"c{i}" for i in range(classes)], names)
    arguments = {"train_labels": np.arange(classes), "neighbours": np.zeros(videos, np.int64)}
    return assess(result, groups=groups or [None] * videos, **(arguments | more))


def test_values_equal_those_of_scikit_learn():
    scores, labels = scores_of(60, 4)
    found = assessed(scores, labels, [f"p{i % 7}" for i in range(60)]).to_json()
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, scores.argmax(axis=1)))
    assert found["balanced_accuracy"] == found["mean_class_top1"]
    precisions = [average_precision_score(labels == i, scores[:, i]) for i in range(4)]
    assert [row["average_precision"] for row in found["per_class"]] == pytest.approx(precisions)
    assert found["mean_average_precision"] == pytest.approx(np.mean(precisions))
    assert found["mean_auc"] == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr"))
    assert found["baselines"]["chance"] == 0.25
    assert found["baselines"]["neighbours"]["accuracy"] == pytest.approx((labels == 0).mean())
    assert sum(row["videos"] for row in found["groups"]["per_group"]) == 60
    assert sum(row["correct"] for row in found["groups"]["per_group"]) == (scores.argmax(axis=1) == labels).sum()
    assert found["binary"] is None


def test_two_classes_have_the_areas_of_the_positive_one():
    scores, labels = scores_of(50, 2)
    found = assessed(scores, labels, positive="c1").to_json()["binary"]
    assert found["positive"] == "c1"
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores[:, 1]))
    assert found["average_precision"] == pytest.approx(average_precision_score(labels, scores[:, 1]))


def test_all_present_keys_are_kept():
    scores, labels = scores_of(12, 3)
    found = assessed(scores, labels)
    values = found.to_json()
    before = found.evaluation.to_json()
    for key in before.keys() - {"per_class"}:
        assert values[key] == before[key]
    for row, old in zip(values["per_class"], before["per_class"], strict=True):
        assert old.items() <= row.items()


CASES = {
    "one video of each class": (np.eye(3), [0, 1, 2], None),
    "a class that is absent": (scores_of(9, 4)[0], [0, 1, 2, 0, 1, 2, 0, 1, 2], None),
    "one group": (scores_of(9, 3)[0], [0, 1, 2, 0, 1, 2, 0, 1, 2], ["a"] * 9),
    "all right": (np.eye(3)[[0, 1, 2, 0, 1, 2]], [0, 1, 2, 0, 1, 2], list("abcdef")),
    "constant scores": (np.full((6, 3), 1 / 3), [0, 1, 2, 0, 1, 2], list("abcdef")),
    "one class": (np.ones((4, 1)), [0, 0, 0, 0], list("aabb")),
    "videos of one of two classes": (scores_of(5, 2)[0], [1, 1, 1, 1, 1], None),
    "one video": ([[0.3, 0.7]], [0], ["a"]),
    "500 classes": (*scores_of(600, 500), [f"p{i % 30}" for i in range(600)]),
}


@pytest.mark.parametrize("case", CASES)
def test_odd_cases_give_values_without_nan_and_a_report(case, tmp_path):
    scores, labels, groups = CASES[case]
    found = assessed(scores, labels, groups, precision=0.5)
    path = write_report(tmp_path, found, command="kresp3d", run_info={})
    assert path.read_text(encoding="utf-8").splitlines()[2] == f"**{found.verdict.sentence}**"

    def no_constant(name):
        raise AssertionError(name)

    values = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=no_constant)
    assert values == found.to_json()
    assert values["verdict"]["sentence"].endswith(".")
    assert (tmp_path / "figures" / "roc.png").exists() == (values["mean_auc"] is not None)


def test_equal_input_gives_equal_files(tmp_path):
    scores, labels = scores_of(30, 3)
    for name in "ab":
        found = assessed(scores, labels, [f"p{i % 6}" for i in range(30)])
        write_report(tmp_path / name, found, command="kresp3d", run_info={})
    for file in (path for path in (tmp_path / "a").rglob("*") if path.is_file()):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes(), file

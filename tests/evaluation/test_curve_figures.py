"""What the curves of a figure show. How they look is for the eye."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kresp3d.evaluation.assessment import assess
from kresp3d.evaluation.curve_figures import MOST_CURVES, precision_recall_figure, roc_figure
from kresp3d.evaluation.figures import save
from kresp3d.evaluation.metrics import evaluate_scores


def assessed(classes, videos=60, names=None):
    random = np.random.default_rng(0)
    labels = np.arange(videos) % classes
    scores = random.random((videos, classes)) + 0.5 * (np.arange(classes) == labels[:, None])
    scores /= scores.sum(axis=1, keepdims=True)
    names = names or [f"c{number}" for number in range(classes)]
    result = evaluate_scores(scores, np.arange(videos), labels, names, [f"v{i}" for i in range(videos)])
    return assess(result, train_labels=labels, groups=[None] * videos, reason="none")


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize(("figure", "value"), [(precision_recall_figure, "average_precision"), (roc_figure, "auc")])
def test_of_many_classes_the_worst_dozen_and_the_mean_are_drawn(figure, value):
    found = assessed(30)
    areas = {f"c{i}": getattr(row, value) for i, row in enumerate(found.curves.classes)}
    drawn = figure(found)
    worst = sorted(areas, key=lambda name: (areas[name], name))[:MOST_CURVES]
    mean = np.mean(list(areas.values()))
    assert legend(drawn) == [*(f"{areas[name]:.3f}  {name}" for name in worst), f"{mean:.3f}  mean"]
    assert "lowest 12\nof 30 classes" in drawn.axes[0].get_legend().get_title().get_text()


def test_few_classes_are_all_drawn_and_the_lines_have_the_areas():
    found = assessed(3)
    labels, scores = found.evaluation.video_labels, found.evaluation.video_scores
    lines = {line.get_label().split("  ")[-1]: line for line in roc_figure(found).axes[0].get_lines()}
    for number in range(3):
        x, y = lines[f"c{number}"].get_data()
        area = ((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2).sum()
        assert area == pytest.approx(roc_auc_score(labels == number, scores[:, number]))
    lines = {line.get_label().split("  ")[-1]: line for line in precision_recall_figure(found).axes[0].get_lines()}
    for number in range(3):
        x, y = lines[f"c{number}"].get_data()
        # A step has the precision of its right end.
        assert ((x[1:] - x[:-1]) * y[1:]).sum() == pytest.approx(found.curves.classes[number].average_precision)
        assert (np.diff(x) > 0).all()


def test_names_are_no_formulas_and_long_ones_are_cut(tmp_path):
    drawn = precision_recall_figure(assessed(2, names=["_a$b^$", "x" * 60]))
    assert any("_a$b^$" in text for text in legend(drawn))
    assert max(map(len, legend(drawn))) < 40
    assert save(drawn, tmp_path / "figure.png").stat().st_size > 1000

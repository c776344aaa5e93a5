"""Precision–recall and ROC curves as figures: the worst classes and the mean of all.

A dozen curves is what an eye can follow; the table of classes has the areas of all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kresp3d.evaluation.assessment import Assessment
from kresp3d.evaluation.curves import GRID, Curve, one_versus_rest
from kresp3d.evaluation.figures import AMBER, BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, SKY, shorten, tidy

#: Classes that are drawn at most: the colours, each as a line and dashed.
MOST_CURVES = 12
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY)


def precision_recall_figure(assessment: Assessment) -> Figure:
    """Precision over recall of the classes with the lowest average precision, and the mean of all classes."""
    curves = assessment.curves
    figure, axes = _axes("recall", "precision")
    worst = _worst(assessment, [row.average_precision for row in curves.classes])
    for number, (name, area, curve) in enumerate(worst):
        # As the average precision counts it: each recall has the precision of the highest threshold that reaches it.
        reached, first = np.unique(curve.recall[curve.recall > 0], return_index=True)
        precision = curve.precision[curve.recall > 0][first]
        axes.step(
            [0.0, *reached],
            [precision[0], *precision],
            where="pre",
            label=f"{area:.3f}  {name}",
            **_style(number, len(worst)),
        )
    _draw_mean(axes, curves.mean_precision, curves.mean_average_precision)
    _add_legend(figure, axes, "average precision", len(worst), _number(assessment))
    return figure


def roc_figure(assessment: Assessment) -> Figure:
    """True over false positive rate of the classes with the smallest area under the curve, and the mean of all."""
    curves = assessment.curves
    figure, axes = _axes("false positive rate", "true positive rate (recall)")
    worst = _worst(assessment, [row.auc for row in curves.classes])
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.0, linestyle=":")
    for number, (name, area, curve) in enumerate(worst):
        axes.plot(
            curve.false_positive_rate,
            curve.true_positive_rate,
            label=f"{area:.3f}  {name}",
            **_style(number, len(worst)),
        )
    _draw_mean(axes, curves.mean_true_positive_rate, curves.mean_auc)
    _add_legend(figure, axes, "area under the curve", len(worst), _number(assessment))
    return figure


def _worst(assessment: Assessment, areas: list[float | None]) -> list[tuple[str, float, Curve]]:
    """The names, areas and curves of the classes with the smallest areas, the smallest first."""
    evaluation = assessment.evaluation
    order = sorted((area, evaluation.classes[i], i) for i, area in enumerate(areas) if area is not None)
    found = []
    for area, name, index in order[:MOST_CURVES]:
        curve = one_versus_rest(evaluation.video_scores[:, index], evaluation.video_labels == index)
        assert curve is not None, "a class with an area has a curve"
        found.append((shorten(name, 28), area, curve))
    return found


def _number(assessment: Assessment) -> int:
    return sum(row.auc is not None for row in assessment.curves.classes)


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.6, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    tidy(axes, "y")
    return figure, axes


def _style(number: int, drawn: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "linestyle": "-" if number < len(_COLOURS) else "--",
        "linewidth": 1.6 if drawn <= 3 else 1.1,
        "clip_on": False,
    }


def _draw_mean(axes: Axes, values: npt.NDArray[np.float64], area: float | None) -> None:
    axes.plot(GRID, values, color=INK, linewidth=2.4, alpha=0.85, label=f"{area:.3f}  mean", zorder=3)


def _add_legend(figure: Figure, axes: Axes, area: str, drawn: int, number: int) -> None:
    which = f"{area}, the lowest {drawn}\nof {number} classes, and the mean of all" if drawn < number else area
    # Beside the axes: no corner of them is free of curves.
    legend = axes.legend(
        title=which, loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=9, alignment="left"
    )
    legend.get_title().set_color(INK)
    for text in legend.get_texts():
        text.set_parse_math(False)

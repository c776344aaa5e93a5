"""Precision–recall and ROC curves of each class against all others, from the scores of videos.

A threshold `t` takes every video for a class whose score for that class is `t` or more. That is another question than
which class scores highest: a video may be taken for several classes, or for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Where the mean over classes is taken: at these recalls, or these false positive rates.
GRID = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, eq=False)
class Curve:
    """How well a score tells a class from all others; made by `one_versus_rest`."""

    thresholds: FloatArray
    """The scores that occur, falling `[K]`."""
    precision: FloatArray
    """At each threshold, from 0 to 1 `[K]`."""
    recall: FloatArray
    """At each threshold, from 0 to 1 and not falling `[K]`."""
    false_positive_rate: FloatArray
    """Of the ROC curve, from 0 to 1 and not falling `[L]`."""
    true_positive_rate: FloatArray
    """Of the ROC curve, from 0 to 1 and not falling `[L]`."""

    @property
    def average_precision(self) -> float:
        """The mean of the precisions, each weighed by the recall that it adds."""
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    @property
    def auc(self) -> float:
        """The area under the ROC curve: how often a video of the class scores higher than one of another."""
        from sklearn.metrics import auc

        return float(auc(self.false_positive_rate, self.true_positive_rate))

    def precision_at(self, recall: FloatArray) -> FloatArray:
        """The precision at the highest threshold that gives at least these recalls `[n]`, and some recall for 0."""
        # Sums of steps of 0.01 may be a little more than a fraction such as 3/10.
        return self.precision[np.searchsorted(self.recall, np.maximum(recall - 1e-9, 1e-9))]

    def recall_at(self, precision: float) -> tuple[float, float] | None:
        """The lowest threshold that gives at least a precision, and the recall there; `None` if no threshold does."""
        reached = np.flatnonzero(self.precision >= precision)
        return None if len(reached) == 0 else (float(self.thresholds[reached[-1]]), float(self.recall[reached[-1]]))


@dataclass(frozen=True, slots=True)
class ClassCurve:
    """What the curves of a class come to. All is `None` where the split has no video of it, or of no other class."""

    average_precision: float | None
    auc: float | None
    threshold: float | None
    """The lowest score that gives the wanted precision; `None` too if none does, or none is wanted."""
    recall: float | None
    """The recall at that threshold."""


@dataclass(frozen=True, eq=False)
class CurveResults:
    """What the curves of all classes come to, and their mean."""

    classes: tuple[ClassCurve, ...]
    mean_average_precision: float | None
    """Over the classes that have one."""
    mean_auc: float | None
    """Over the classes that have one."""
    mean_precision: FloatArray
    """At the recalls of `GRID`, the mean over classes `[101]`; empty if no class has a curve."""
    mean_true_positive_rate: FloatArray
    """At the false positive rates of `GRID`, the mean over classes `[101]`; empty if no class has a curve."""
    wanted_precision: float | None
    """What the thresholds are for."""


def one_versus_rest(scores: FloatArray, positive: BoolArray) -> Curve | None:
    """Compute the curves of one class.

    Args:
        scores: For the class, of each video `[V]`.
        positive: Which videos are of the class `[V]`.

    Returns:
        `None` if all videos are of the class, or none is.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    if positive.all() or not positive.any():
        return None
    precision, recall, thresholds = precision_recall_curve(positive, scores)
    false_positive_rate, true_positive_rate, _ = roc_curve(positive, scores)
    # The last precision and recall, 1 and 0, belong to no threshold.
    return Curve(thresholds[::-1], precision[-2::-1], recall[-2::-1], false_positive_rate, true_positive_rate)


def measure_curves(scores: FloatArray, labels: IntArray, *, precision: float | None = None) -> CurveResults:
    """Compute what the curves of all classes come to.

    Args:
        scores: Of videos `[V, C]`.
        labels: Class indices `[V]`.
        precision: The precision, above 0 and at most 1, that each class's threshold is to give.
    """
    rows, precisions, rates = [], [], []
    for index in range(scores.shape[1]):
        curve = one_versus_rest(scores[:, index], labels == index)
        if curve is None:
            rows.append(ClassCurve(None, None, None, None))
            continue
        precisions.append(curve.precision_at(GRID))
        rates.append(np.interp(GRID, curve.false_positive_rate, curve.true_positive_rate))
        point = None if precision is None else curve.recall_at(precision)
        rows.append(ClassCurve(curve.average_precision, curve.auc, *(point or (None, None))))
    return CurveResults(
        tuple(rows),
        _mean([row.average_precision for row in rows]),
        _mean([row.auc for row in rows]),
        np.mean(precisions, axis=0) if precisions else np.empty(0),
        np.mean(rates, axis=0) if rates else np.empty(0),
        precision,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None

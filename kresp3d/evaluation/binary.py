"""The metrics of problems with two classes, of which one, the positive one, is looked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.system.errors import UsageError

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BinaryResult:
    """What is found and missed of the positive class. Fractions are `None` where they have no denominator."""

    positive: str
    negative: str
    chosen: bool
    """Whether a person chose the positive class; otherwise it is the rarer one in training."""
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    auc: float | None
    """Area under the ROC curve of the positive class's score."""
    average_precision: float | None
    """Of the positive class's score."""

    @property
    def sensitivity(self) -> float | None:
        """The fraction of the positive videos that were found: the recall."""
        return _fraction(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> float | None:
        """The fraction of the negative videos that were taken for negative."""
        return _fraction(self.true_negatives, self.true_negatives + self.false_positives)

    @property
    def precision(self) -> float | None:
        """The fraction of positive ones among those that were taken for positive."""
        return _fraction(self.true_positives, self.true_positives + self.false_positives)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and sensitivity."""
        return _fraction(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)

    @property
    def mcc(self) -> float | None:
        """Matthews's correlation coefficient, from -1 to 1; `None` if a class never occurs or is never named."""
        tp, fp, fn, tn = self.true_positives, self.false_positives, self.false_negatives, self.true_negatives
        square = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        return (tp * tn - fp * fn) / math.sqrt(square) if square else None

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `metrics.json`."""
        return {
            "positive": self.positive,
            "negative": self.negative,
            "true_positives": self.true_positives,
            "false_positives": self.false_positives,
            "false_negatives": self.false_negatives,
            "true_negatives": self.true_negatives,
            "sensitivity": self.sensitivity,
            "specificity": self.specificity,
            "precision": self.precision,
            "f1": self.f1,
            "mcc": self.mcc,
            "auc": self.auc,
            "average_precision": self.average_precision,
        }


def positive_class(classes: Sequence[str], train_labels: IntArray, chosen: str | None) -> int:
    """Find the positive one of two classes: the chosen one, or the rarer in training, of equals the first.

    Args:
        classes: The two names.
        train_labels: Class indices of the training videos `[N]`.
        chosen: A name, if a person gave one.
    """
    if chosen is not None:
        return list(classes).index(chosen)
    return int(np.bincount(train_labels, minlength=2).argmin())


def check_positive(classes: Sequence[str], chosen: str | None) -> None:
    """Make sure that a class can be the positive one.

    Raises:
        UsageError: If there are not two classes, or it is neither of them.
    """
    if chosen is None:
        return
    if len(classes) != 2:
        raise UsageError(f"--positive is for networks of two classes, and this one has {len(classes)}; leave it out")
    if chosen not in classes:
        raise UsageError(f"--positive must be '{classes[0]}' or '{classes[1]}', received '{chosen}'")


def measure_binary(
    confusion: IntArray,
    classes: Sequence[str],
    positive: int,
    *,
    chosen: bool,
    auc: float | None,
    average_precision: float | None,
) -> BinaryResult:
    """Count what was found and missed of the positive class.

    Args:
        confusion: Videos `[2, 2]`; row: the true class, column: the predicted one.
        classes: The two names.
        positive: The index of the positive one.
        chosen: Whether a person chose it.
        auc: Area under the ROC curve of its score.
        average_precision: Of its score.
    """
    negative = 1 - positive
    return BinaryResult(
        positive=classes[positive],
        negative=classes[negative],
        chosen=chosen,
        true_positives=int(confusion[positive, positive]),
        false_positives=int(confusion[negative, positive]),
        false_negatives=int(confusion[positive, negative]),
        true_negatives=int(confusion[negative, negative]),
        auc=auc,
        average_precision=average_precision,
    )


def _fraction(part: int, whole: int) -> float | None:
    return part / whole if whole else None

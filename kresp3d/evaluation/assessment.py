"""An evaluation with what it takes to judge it: baselines, groups, curves and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.evaluation.baselines import Baselines, measure_baselines
from kresp3d.evaluation.binary import BinaryResult, measure_binary, positive_class
from kresp3d.evaluation.curves import CurveResults, measure_curves
from kresp3d.evaluation.groups import GroupResults, group_units, measure_groups
from kresp3d.evaluation.metrics import Evaluation
from kresp3d.evaluation.verdict import Verdict, make_verdict

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Assessment:
    """What is known of a network on one split; made by `assess`."""

    evaluation: Evaluation
    groups: tuple[str | None, ...]
    """The group of each video `[V]`."""
    baselines: Baselines
    group_results: GroupResults | None
    """`None` if no video has a group."""
    curves: CurveResults
    binary: BinaryResult | None
    """`None` if there are not two classes."""
    verdict: Verdict

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have videos."""
        return self.evaluation.mean_class_top1

    def class_rows(self) -> list[dict[str, Any]]:
        """A row for each class: what `ClassResult.to_json` gives, then what its curves come to."""
        wanted = self.curves.wanted_precision
        rows = []
        for result, curve in zip(self.evaluation.per_class, self.curves.classes, strict=True):
            row = {**result.to_json(), "average_precision": curve.average_precision, "auc": curve.auc}
            if wanted is not None:
                row |= {"threshold_at_precision": curve.threshold, "recall_at_precision": curve.recall}
            rows.append(row)
        return rows

    def to_json(self) -> dict[str, Any]:
        """What `metrics.json` holds: plain values; shares from 0 to 1, `None` where there is nothing to divide by."""
        evaluation = self.evaluation
        return {
            **evaluation.to_json(),
            "per_class": self.class_rows(),
            "balanced_accuracy": self.balanced_accuracy,
            "verdict": self.verdict.to_json(),
            "baselines": self.baselines.to_json(evaluation.classes),
            "groups": None if self.group_results is None else self.group_results.to_json(),
            "mean_average_precision": self.curves.mean_average_precision,
            "mean_auc": self.curves.mean_auc,
            "wanted_precision": self.curves.wanted_precision,
            "binary": None if self.binary is None else self.binary.to_json(),
        }


def assess(
    evaluation: Evaluation,
    *,
    train_labels: IntArray | None,
    groups: Sequence[str | None],
    neighbours: IntArray | None = None,
    reason: str | None = None,
    on_training_videos: bool = False,
    positive: str | None = None,
    precision: float | None = None,
) -> Assessment:
    """Compare an evaluation with simple baselines, by group and over all thresholds.

    Args:
        evaluation: What was measured of `V` videos.
        train_labels: The class index of each training video `[N]`, at least one; `None` where they are not known, so
            that the measured ones say which class is the majority, and which is rare.
        groups: The group of each measured video `[V]`, `None` where it has none.
        neighbours: The class index that the nearest neighbours give each measured video `[V]`.
        reason: Why `neighbours` is missing, where it is.
        on_training_videos: Whether the network was trained on the measured videos.
        positive: The positive one of two classes; by default the rarer one in training.
        precision: The precision that the threshold of each class is to give, if one is wanted.
    """
    labels, classes = evaluation.video_labels, evaluation.classes
    predicted = evaluation.video_scores.argmax(axis=1)
    baselines = measure_baselines(labels, train_labels, len(classes), neighbours, reason)
    curves = measure_curves(evaluation.video_scores, labels, precision=precision)
    binary = None
    if len(classes) == 2:
        index = positive_class(classes, labels if train_labels is None else train_labels, positive)
        curve = curves.classes[index]
        binary = measure_binary(
            evaluation.confusion,
            classes,
            index,
            chosen=positive is not None,
            auc=curve.auc,
            average_precision=curve.average_precision,
        )
    return Assessment(
        evaluation=evaluation,
        groups=tuple(groups),
        baselines=baselines,
        group_results=measure_groups(predicted == labels, groups),
        curves=curves,
        binary=binary,
        verdict=make_verdict(
            predicted, labels, classes, baselines, group_units(groups), on_training_videos=on_training_videos
        ),
    )

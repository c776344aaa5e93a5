"""Simple baselines that a network should beat: chance, the majority class, and 3 nearest neighbours.

They are measured on the same videos as the network, so that the two can be compared video by video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: How many training videos vote on a video.
NEIGHBOURS = 3
#: With more training videos than this, the neighbours are left out: reading them would take minutes.
MOST_VIDEOS = 20_000


@dataclass(frozen=True, eq=False)
class Baselines:
    """What simple rules get right of the measured videos. Shares are from 0 to 1."""

    chance: float
    """One of all classes, `1 / C`."""
    majority: int
    """The class that most training videos have, or most measured ones; the first of several."""
    majority_hits: BoolArray
    """Which videos it is right for, `[V]`."""
    neighbours_hits: BoolArray | None
    """Which videos the nearest neighbours are right for, `[V]`."""
    reason: str | None
    """Why there are no nearest neighbours."""
    knows_training: bool = True
    """Whether the majority class is that of the training videos; otherwise it is that of the measured ones."""

    @property
    def majority_accuracy(self) -> float:
        """The share of the majority class in the measured videos."""
        return float(self.majority_hits.mean())

    @property
    def neighbours_accuracy(self) -> float | None:
        """The share that the nearest neighbours are right for."""
        return None if self.neighbours_hits is None else float(self.neighbours_hits.mean())

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Plain values, for `metrics.json`."""
        return {
            "chance": self.chance,
            "majority": {"class": classes[self.majority], "accuracy": self.majority_accuracy},
            "neighbours": {
                "k": NEIGHBOURS,
                "features": "mean residual frame",
                "accuracy": self.neighbours_accuracy,
                "left_out": self.reason,
            },
        }


def measure_baselines(
    labels: IntArray, train_labels: IntArray | None, classes: int, neighbours: IntArray | None, reason: str | None
) -> Baselines:
    """Measure the baselines.

    Args:
        labels: The class index of each measured video `[V]`.
        train_labels: The class index of each training video `[N]`, at least one; `None` where they are not known.
        classes: Number of classes `C`.
        neighbours: What `nearest_neighbours` says of the measured videos `[V]`.
        reason: Why `neighbours` is missing, where it is.
    """
    if (neighbours is None) == (reason is None):
        raise ValueError("expected either the neighbours' classes or the reason why there are none")
    knows_training = train_labels is not None
    majority = int(np.bincount(labels if train_labels is None else train_labels, minlength=classes).argmax())
    hits = None if neighbours is None else neighbours == labels
    return Baselines(1 / classes, majority, labels == majority, hits, reason, knows_training)


def nearest_neighbours(
    train_features: npt.NDArray[np.floating], train_labels: IntArray, features: npt.NDArray[np.floating]
) -> IntArray:
    """Name each video by a vote of the 3 nearest training videos, of all where there are fewer.

    A vote weighs one over its Euclidean distance, so that of three that differ the nearest counts.

    Args:
        train_features: `[N, F]`.
        train_labels: Class indices `[N]`.
        features: `[V, F]`, in the same unit.

    Returns:
        Class indices `[V]`.
    """
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(min(NEIGHBOURS, len(train_labels)), weights="distance", algorithm="brute")
    return np.asarray(model.fit(train_features, train_labels).predict(features), np.int64)

"""Clip and video accuracy from the scores of many clips, in NumPy alone.

    logits [N, C] ──softmax──▶ clip scores [N, C] ──mean over a video's clips──▶ video scores [V, C]

Ties are settled the same way everywhere: of classes with equal scores the one with the lower index comes first. So
`top-1` agrees with `argmax` and with the confusion matrix, and constant scores are right for `k` classes, not for all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.system.errors import KrespError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: The 97.5 % quantile of the normal distribution, for two-sided 95 % intervals.
_Z95 = 1.959963984540054


def top_k_hits(scores: npt.ArrayLike, labels: npt.ArrayLike, k: int) -> npt.NDArray[np.bool_]:
    """Whether each label is among the `k` best classes of its row.

    A label counts if fewer than `k` classes score higher, or as high with a lower index.

    Args:
        scores: Finite floats `[N, C]`; logits and softmax scores rank alike.
        labels: Class indices `[N]`.
        k: From 1 to `C`.

    Returns:
        bool `[N]`.

    Raises:
        KrespError: If a score is NaN or infinite.
    """
    values = _matrix(scores, "scores")
    classes = values.shape[1]
    indices = _indices(labels, "labels", len(values), classes)
    if not 1 <= k <= classes:
        raise ValueError(f"k must be from 1 to the {classes} classes, received {k}")
    own = values[np.arange(len(values)), indices][:, None]
    before = (values > own) | ((values == own) & (np.arange(classes) < indices[:, None]))
    return np.asarray(before.sum(axis=1) < k)


def video_scores(clip_scores: npt.ArrayLike, video_index: npt.ArrayLike) -> FloatArray:
    """The mean of each video's clip scores.

    The result is the same to the last bit for any order of the clips.

    Args:
        clip_scores: Softmax scores `[N, C]`.
        video_index: The video of each clip `[N]`, from 0 to `V - 1`; each video has at least one clip.

    Returns:
        float64 `[V, C]`.

    Raises:
        KrespError: If a score is NaN or infinite.
    """
    scores = _matrix(clip_scores, "clip_scores")
    index = _indices(video_index, "video_index", len(scores), None)
    counts = np.bincount(index)
    if not counts.all():
        raise ValueError(f"video_index names no clip of video {int(np.argmin(counts))}, yet of later ones")
    parts = np.split(scores[np.argsort(index, kind="stable")], np.cumsum(counts)[:-1])
    # Rounding depends on the order of the terms, so each class's terms are added in ascending order.
    return np.stack([np.sort(part, axis=0).mean(axis=0) for part in parts])


def confusion_matrix(labels: npt.ArrayLike, predicted: npt.ArrayLike, classes: int) -> IntArray:
    """Count how often each class was taken for each.

    Args:
        labels: True class indices `[N]`.
        predicted: Predicted class indices `[N]`.
        classes: Number of classes `C`.

    Returns:
        int64 `[C, C]`; row: the true class, column: the predicted one.
    """
    true = _indices(labels, "labels", None, classes)
    guess = _indices(predicted, "predicted", len(true), classes)
    counts = np.bincount(true * classes + guess, minlength=classes * classes)
    return np.asarray(counts.reshape(classes, classes), dtype=np.int64)


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson, 1927), which also holds for few trials and near 0 and 1."""
    if trials < 1 or not 0 <= hits <= trials:
        raise ValueError(f"expected 0 <= hits <= trials and at least one trial, received {hits} of {trials}")
    return score_interval(hits / trials, trials, _Z95)


def score_interval(fraction: float, trials: float, quantile: float) -> tuple[float, float]:
    """Wilson's score interval of a fraction.

    Args:
        fraction: From 0 to 1.
        trials: Above 0; need not be a whole number.
        quantile: How many standard deviations away from a fraction what is observed may be.
    """
    z2 = quantile**2
    centre = (fraction + z2 / (2 * trials)) / (1 + z2 / trials)
    half = quantile / (1 + z2 / trials) * math.sqrt(fraction * (1 - fraction) / trials + z2 / (4 * trials**2))
    low = 0.0 if fraction == 0 else max(0.0, centre - half)
    high = 1.0 if fraction == 1 else min(1.0, centre + half)
    return low, high


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One row of the per-class table. Shares are `None` where they have no denominator."""

    name: str
    videos: int
    clip_top1: float | None
    video_top1: float | None
    precision: float | None
    """Share of right ones among the videos that were taken for this class."""
    confused_with: str | None
    """The class that this one's videos were most often wrongly taken for."""
    confused: int
    """How many videos were taken for it."""

    @property
    def recall(self) -> float | None:
        """Share of the class's videos that were recognised: its video top-1."""
        return self.video_top1

    def to_json(self) -> dict[str, Any]:
        """Plain values, under the names of the fields (`class` for the name)."""
        values = asdict(self)
        return {"class": values.pop("name"), **values, "recall": self.recall}


@dataclass(frozen=True, slots=True)
class Confusion:
    """A class that was taken for another: `count` times, which is `share` of its videos."""

    label: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was said of one video. `score` is that of the predicted class, `label_score` that of the true one."""

    name: str
    label: str
    predicted: str
    score: float
    label_score: float

    @property
    def correct(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.label == self.predicted


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A network's measured accuracy on one split; made by `evaluate_scores`.

    `clip_top5` and `video_top5` are top-`k` with `k = min(5, classes)`.
    """

    split: str
    classes: tuple[str, ...]
    video_names: tuple[str, ...]
    video_labels: IntArray
    """Class indices `[V]`."""
    video_scores: FloatArray
    """Mean softmax scores `[V, C]`."""
    clips: int
    """Clips of all videos together."""
    k: int
    clip_top1: float
    clip_top5: float
    video_top1: float
    video_top5: float
    video_top1_interval: tuple[float, float]
    """95 % Wilson interval, as if videos were independent."""
    confusion: IntArray
    """Videos `[C, C]`; row: the true class, column: the predicted one."""
    per_class: tuple[ClassResult, ...]

    @property
    def subject(self) -> str:
        """What was measured on, for a title."""
        return f"{self.split} split"

    @property
    def videos(self) -> int:
        """Number of videos."""
        return len(self.video_names)

    @property
    def clips_per_video(self) -> float:
        """Clips per video, on average where they differ."""
        return self.clips / self.videos

    @property
    def mean_class_top1(self) -> float:
        """Video top-1 averaged over the classes that have videos, so that each class weighs the same."""
        return float(np.mean([row.video_top1 for row in self.per_class if row.video_top1 is not None]))

    def predictions(self) -> list[Prediction]:
        """One entry for each video, in the order of `video_names`."""
        best = self.video_scores.argmax(axis=1)
        return [
            Prediction(name, self.classes[label], self.classes[guess], float(scores[guess]), float(scores[label]))
            for name, label, guess, scores in zip(
                self.video_names, self.video_labels, best, self.video_scores, strict=True
            )
        ]

    def worst_predictions(self, limit: int = 10) -> list[Prediction]:
        """The wrong predictions with the highest scores, the most confident first."""
        wrong = [prediction for prediction in self.predictions() if not prediction.correct]
        return sorted(wrong, key=lambda prediction: (-prediction.score, prediction.name))[:limit]

    def confused_pairs(self, limit: int = 10) -> list[Confusion]:
        """The most frequent confusions, by count and then by share of the class's videos."""
        shares = self.confusion / np.maximum(self.confusion.sum(axis=1, keepdims=True), 1)
        pairs = [
            Confusion(self.classes[i], self.classes[j], int(self.confusion[i, j]), float(shares[i, j]))
            for i, j in np.argwhere(self.confusion)
            if i != j
        ]
        return sorted(pairs, key=lambda pair: (-pair.count, -pair.share, pair.label, pair.predicted))[:limit]

    def to_json(self) -> dict[str, Any]:
        """What `metrics.json` holds: plain values; shares from 0 to 1, `None` where there is nothing to divide by."""
        return {
            "split": self.split,
            "classes": len(self.classes),
            "videos": self.videos,
            "clips": self.clips,
            "top_k": self.k,
            "clip_top1": self.clip_top1,
            "clip_top5": self.clip_top5,
            "video_top1": self.video_top1,
            "video_top5": self.video_top5,
            "video_top1_interval": list(self.video_top1_interval),
            "mean_class_top1": self.mean_class_top1,
            "per_class": [row.to_json() for row in self.per_class],
            "confusion": self.confusion.tolist(),
        }


def evaluate_scores(
    clip_scores: npt.ArrayLike,
    video_index: npt.ArrayLike,
    video_labels: npt.ArrayLike,
    classes: Sequence[str],
    video_names: Sequence[str],
    *,
    split: str = "test",
) -> Evaluation:
    """Measure clip and video accuracy.

    Args:
        clip_scores: Softmax scores `[N, C]`.
        video_index: The video of each clip `[N]`, from 0 to `V - 1`, in any order.
        video_labels: The class index of each video `[V]`.
        classes: The `C` class names, all different.
        video_names: The `V` names of the videos.
        split: Name of the split, for the report.

    Raises:
        KrespError: If a score is NaN or infinite.
        ValueError: If shapes, indices or names do not fit together, or the scores are no softmax scores.
    """
    names, class_names = tuple(video_names), tuple(classes)
    if not names or not class_names or len(set(class_names)) != len(class_names):
        raise ValueError("expected at least one video, and at least one class, with names that differ from each other")
    index = _indices(video_index, "video_index", None, len(names))
    scores = _matrix(clip_scores, "clip_scores", [names[i] for i in index])
    if scores.shape != (len(index), len(class_names)):
        raise ValueError(f"clip_scores must be [{len(index)}, {len(class_names)}], received {list(scores.shape)}")
    if scores.min() < -1e-6 or np.abs(scores.sum(axis=1) - 1).max() > 1e-2:
        raise ValueError("clip_scores must be softmax scores, each row adding up to 1; apply softmax to logits first")
    labels = _indices(video_labels, "video_labels", len(names), len(class_names))
    means = video_scores(scores, index)
    if len(means) != len(names):
        raise ValueError(f"video_index names {len(means)} videos, video_names {len(names)}")

    k = min(5, len(class_names))
    clip_labels = labels[index]
    clip_hits = top_k_hits(scores, clip_labels, 1)
    video_hits = top_k_hits(means, labels, 1)
    confusion = confusion_matrix(labels, means.argmax(axis=1), len(class_names))
    return Evaluation(
        split=split,
        classes=class_names,
        video_names=names,
        video_labels=labels,
        video_scores=means,
        clips=len(scores),
        k=k,
        clip_top1=float(clip_hits.mean()),
        clip_top5=float(top_k_hits(scores, clip_labels, k).mean()),
        video_top1=float(video_hits.mean()),
        video_top5=float(top_k_hits(means, labels, k).mean()),
        video_top1_interval=wilson_interval(int(video_hits.sum()), len(names)),
        confusion=confusion,
        per_class=_per_class(class_names, clip_labels, clip_hits, confusion),
    )


def _per_class(
    classes: tuple[str, ...], clip_labels: IntArray, clip_hits: npt.NDArray[np.bool_], confusion: IntArray
) -> tuple[ClassResult, ...]:
    clips = np.bincount(clip_labels, minlength=len(classes))
    hit_clips = np.bincount(clip_labels[clip_hits], minlength=len(classes))
    right, videos, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    wrong = confusion - np.diag(right)
    worst = wrong.argmax(axis=1)
    return tuple(
        ClassResult(
            name=name,
            videos=int(videos[i]),
            clip_top1=_share(hit_clips[i], clips[i]),
            video_top1=_share(right[i], videos[i]),
            precision=_share(right[i], predicted[i]),
            confused_with=classes[worst[i]] if wrong[i].any() else None,
            confused=int(wrong[i, worst[i]]),
        )
        for i, name in enumerate(classes)
    )


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _matrix(values: npt.ArrayLike, name: str, owners: Sequence[str] = ()) -> FloatArray:
    matrix = np.asarray(values).astype(np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"{name} must be [rows, classes] and not empty, received shape {list(matrix.shape)}")
    _refuse_non_finite(matrix, name, owners)
    return matrix


def _refuse_non_finite(matrix: FloatArray, name: str, owners: Sequence[str] = ()) -> None:
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        where = f"video {owners[bad[0]]!r}" if len(owners) == len(matrix) else f"row {bad[0]}"
        raise KrespError(
            f"{name}: expected finite numbers, received NaN or infinity in {len(bad)} of {len(matrix)} rows, first for "
            f"{where}: the weights have probably diverged; evaluate an earlier checkpoint or lower the learning rate"
        )


def _indices(values: npt.ArrayLike, name: str, length: int | None, limit: int | None) -> IntArray:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a row of integers, received {array.dtype} of shape {list(array.shape)}")
    if length is not None and len(array) != length:
        raise ValueError(f"{name} must have {length} entries, received {len(array)}")
    if len(array) == 0 or array.min() < 0 or (limit is not None and array.max() >= limit):
        bound = "not negative" if limit is None else f"from 0 to {limit - 1}"
        raise ValueError(f"{name} must not be empty and its entries {bound}")
    return array.astype(np.int64)

"""What a cross-validation has found so far, read from its run folders."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.config.schema import Config
from kresp3d.evaluation.groups import GroupResults, measure_groups
from kresp3d.evaluation.metrics import Evaluation, evaluate_scores
from kresp3d.experiments.crossvalidation.folder import CrossValidationFolder
from kresp3d.experiments.crossvalidation.plan import Plan
from kresp3d.experiments.jobs import Status
from kresp3d.system.errors import KrespError
from kresp3d.training.process import Training

#: Measures of a fold: its key in `metrics.json`, and what a report calls it.
MEASURES = {"video_top1": "video top-1", "balanced_accuracy": "balanced accuracy"}


@dataclass(frozen=True)
class FoldResult:
    """A fold and what came of it. Shares are from 0 to 1, and `None` before it is done."""

    fold: int
    status: Status
    groups: tuple[str, ...]
    """The groups that are tested."""
    videos: Mapping[str, int]
    """Videos of each side."""
    epochs: int = 0
    """Finished epochs."""
    seconds: float = 0.0
    """Of training, without preparing and measuring."""
    video_top1: float | None = None
    balanced_accuracy: float | None = None
    neighbours: float | None = None
    """Of the 3 nearest neighbours on the same videos."""
    majority: float | None = None
    """Of always naming the class that most training videos have."""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Results:
    """All folds of a cross-validation.

    Args:
        base: The configuration that they share.
        plan: Which video is tested in which fold.
        trainings: The folds, in order.
    """

    base: Config
    plan: Plan
    trainings: tuple[FoldResult, ...]

    def with_status(self, *statuses: Status) -> list[FoldResult]:
        """The folds of some statuses."""
        return [result for result in self.trainings if result.status in statuses]

    @property
    def is_complete(self) -> bool:
        """Whether all folds are done."""
        return len(self.with_status("done")) == len(self.trainings)

    def values(self, measure: str) -> list[float]:
        """A measure of the folds that are done and have it."""
        found = [getattr(result, measure) for result in self.with_status("done")]
        return [value for value in found if value is not None]

    def mean(self, measure: str) -> float | None:
        """The mean of a measure over the folds that are done."""
        values = self.values(measure)
        return fmean(values) if values else None

    def deviation(self, measure: str) -> float | None:
        """Its standard deviation; `None` of fewer than two folds."""
        values = self.values(measure)
        return stdev(values) if len(values) > 1 else None

    def pooled(self, measure: str) -> float | None:
        """A share of videos over all videos of the folds that are done; `None` where a fold lacks it."""
        done = self.with_status("done")
        pairs = [(getattr(result, measure), result.videos["test"]) for result in done]
        if not pairs or any(value is None for value, _ in pairs):
            return None
        return float(sum(value * number for value, number in pairs) / sum(number for _, number in pairs))


def read_fold(
    training: Training, plan: Plan, fold: int, videos: Mapping[str, int], status: Status, reason: str = ""
) -> FoldResult:
    """Read what a run folder says of a fold.

    Args:
        training: Its training.
        plan: Which video is tested in which fold.
        fold: Its number.
        videos: Videos of each side.
        status: How it stands.
        reason: Why its last try failed, if it did.
    """
    groups = tuple(sorted({video.group for video in plan.tested(fold) if video.group is not None}))
    common: dict[str, Any] = {"epochs": training.epoch, "seconds": training.seconds}
    if status != "done":
        return FoldResult(fold, status, groups, videos, reason=reason if status == "failed" else "", **common)
    metrics = training.metrics()
    return FoldResult(
        fold,
        status,
        groups,
        videos,
        video_top1=metrics["video_top1"],
        balanced_accuracy=metrics["balanced_accuracy"],
        neighbours=metrics["baselines"]["neighbours"]["accuracy"],
        majority=metrics["baselines"]["majority"]["accuracy"],
        **common,
    )


@dataclass(frozen=True, eq=False)
class Pool:
    """The tested videos of all folds that are done, as one test of all videos."""

    evaluation: Evaluation
    """Its clip accuracies are the videos', since only their scores are kept."""
    groups: tuple[str | None, ...]
    """The group of each video `[V]`."""
    folds: tuple[int, ...]
    """The fold of each video `[V]`."""
    by_group: GroupResults | None
    """`None` where no group is known."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of video top-1 that respects groups; of videos one by one where no group is known."""
        return self.evaluation.video_top1_interval if self.by_group is None else self.by_group.interval


def pool(folder: CrossValidationFolder, results: Results, classes: Sequence[str]) -> Pool | None:
    """Put together what the folds that are done say of their videos; `None` where none is done.

    Args:
        folder: The cross-validation.
        results: How the folds stand.
        classes: The names of the classes, in the order of their numbers.

    Raises:
        KrespError: If what a fold has measured is damaged.
    """
    tested = {video.name: video for video in results.plan.videos}
    names: list[str] = []
    scores: list[npt.NDArray[np.float64]] = []
    for result in results.with_status("done"):
        for name, row in _read_scores(folder.training(result.fold), classes).items():
            names.append(name)
            scores.append(row)
    if not names:
        return None
    labels = np.array([classes.index(tested[name].label) for name in names])
    order = np.argsort(names, kind="stable")
    names = [names[index] for index in order]
    matrix = np.stack(scores)[order]
    evaluation = evaluate_scores(matrix, np.arange(len(names)), labels[order], classes, names, split="test")
    groups = tuple(tested[name].group for name in names)
    hits = matrix.argmax(axis=1) == evaluation.video_labels
    folds = tuple(tested[name].fold for name in names)
    return Pool(evaluation, groups, folds, measure_groups(hits, groups))


def _read_scores(training: Training, classes: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """The scores of all classes `[C]` of each tested video, by name."""
    path = training.path / "predictions.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                row["name"]: np.array([float(row[f"score_{name}"]) for name in classes]) for row in csv.DictReader(file)
            }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KrespError(
            f"{path} is missing or damaged ({error}); measure the fold again by `kresp3d evaluate {training.path}`"
        ) from None

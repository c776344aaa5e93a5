"""What a cross-validation has found, as files: CSV and `metrics.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kresp3d.experiments.crossvalidation.results import MEASURES, Pool, Results
from kresp3d.system.files import write_csv, write_text


def write_folds(path: Path, results: Results) -> None:
    """Write one row for each fold; shares are from 0 to 1, and empty before a fold is done."""
    head = ("fold", "status", "train", "validation", "test", "groups", *MEASURES, "majority", "neighbours")
    rows = [
        [
            *(result.fold, result.status),
            *(result.videos.get(side, 0) for side in ("train", "validation", "test")),
            len(result.groups) if results.plan.has_groups else "",
            *(_number(getattr(result, name)) for name in (*MEASURES, "majority", "neighbours")),
            *(result.epochs, f"{result.seconds:.1f}", result.reason),
        ]
        for result in results.trainings
    ]
    write_csv(path, (*head, "epochs", "seconds", "reason"), rows)


def write_predictions(path: Path, pool: Pool) -> None:
    """Write one row for each tested video: what a run's `predictions.csv` has, and the fold before the scores."""
    evaluation = pool.evaluation
    head = ["name", "label", "predicted", "score", "correct", "group", "fold"]
    rows = [
        [
            *(said.name, said.label, said.predicted, f"{said.score:.6f}", int(said.correct), group or "", fold),
            *(f"{score:.6f}" for score in scores),
        ]
        for said, group, fold, scores in zip(
            evaluation.predictions(), pool.groups, pool.folds, evaluation.video_scores.tolist(), strict=True
        )
    ]
    write_csv(path, [*head, *(f"score_{name}" for name in evaluation.classes)], rows)


def write_per_class(path: Path, pool: Pool) -> None:
    """Write one row for each class; shares are from 0 to 1, and empty where there is nothing to divide by."""
    rows = [
        [row.name, row.videos, _number(row.recall), _number(row.precision), row.confused_with or "", row.confused]
        for row in pool.evaluation.per_class
    ]
    write_csv(path, ("class", "videos", "recall", "precision", "confused_with", "confused"), rows)


def write_per_group(path: Path, pool: Pool) -> None:
    """Write one row for each group, the worst first."""
    folds = dict(zip(pool.groups, pool.folds, strict=True))
    found = () if pool.by_group is None else pool.by_group.rows
    rows = [[row.name, folds[row.name], row.videos, row.correct, _number(row.accuracy)] for row in found]
    write_csv(path, ("group", "fold", "videos", "correct", "accuracy"), rows)


def write_metrics(path: Path, results: Results, pool: Pool | None) -> None:
    """Write what was measured as JSON: shares from 0 to 1, `null` where there is none."""
    over_folds = {
        name: {
            "mean": results.mean(name),
            "standard_deviation": results.deviation(name),
            "values": results.values(name),
        }
        for name in MEASURES
    }
    values = {
        "folds": len(results.trainings),
        "complete": results.is_complete,
        "done": [result.fold for result in results.with_status("done")],
        "failed": {str(result.fold): result.reason for result in results.with_status("failed")},
        "over_folds": over_folds,
        "pooled": None if pool is None else _pooled(results, pool),
    }
    write_text(path, json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def _pooled(results: Results, pool: Pool) -> dict[str, Any]:
    evaluation = pool.evaluation
    return {
        "videos": evaluation.videos,
        "video_top1": evaluation.video_top1,
        "video_top1_interval": None if pool.interval is None else list(pool.interval),
        "video_top1_wilson_interval": list(evaluation.video_top1_interval),
        "balanced_accuracy": evaluation.mean_class_top1,
        "chance": 1 / len(evaluation.classes),
        "majority": results.pooled("majority"),
        "neighbours": results.pooled("neighbours"),
        "classes": list(evaluation.classes),
        "confusion": evaluation.confusion.tolist(),
        "per_class": [
            {"class": row.name, "videos": row.videos, "recall": row.recall, "precision": row.precision}
            for row in evaluation.per_class
        ],
        "groups": None if pool.by_group is None else pool.by_group.to_json(),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"

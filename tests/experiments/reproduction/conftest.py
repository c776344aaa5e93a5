"""Results that no training made."""

from __future__ import annotations

import pytest

from kresp3d.config.schema import parse_config
from kresp3d.experiments.cost import Cost, Survey
from kresp3d.experiments.reproduction.report import Facts
from kresp3d.experiments.reproduction.results import Result, Results
from kresp3d.experiments.reproduction.tables import ROWS, rows_of


@pytest.fixture
def base():
    """What all trainings share."""
    return parse_config({"name": "paper", "model": {"frames": 4}, "training": {"epochs": 3, "keep": "best"}}, "test")


@pytest.fixture
def make_results(base):
    """`make_results({"rgb": [0.5, 0.6]}, tables=(2,))`: video top-1 by seed; `None` waits, and a word is a failure."""

    def make(scores, tables=(2, 3, 4), top5=0.9):
        seeds = max(len(values) for values in scores.values())
        found = []
        for seed in range(seeds):
            for row in rows_of(tables):
                values = scores.get(row, [])
                value = values[seed] if seed < len(values) else None
                if isinstance(value, str):
                    found.append(Result(row, seed, "failed", 1, 5.0, reason=value))
                elif value is None:
                    found.append(Result(row, seed))
                else:
                    measures = {"clip_top1": value - 0.02, "clip_top5": top5, "video_top1": value, "video_top5": top5}
                    found.append(Result(row, seed, "done", 3, 60.0 + seed, measures))
        return Results(base, tables, tuple(found))

    return make


@pytest.fixture
def facts():
    """What a report says besides."""
    costs = {row: Cost(32_800_000 + number, 112_700_000_000) for number, row in enumerate(ROWS)}
    videos = {"train": 90, "validation": 0, "test": 50}
    return Facts("kresp3d reproduce --config paper.yaml", videos, 10, Survey(costs, ()))


#: Three seeds of all rows, in the order that the paper has them.
SCORES = {
    "rgb": [0.70, 0.72, 0.71],
    "residual": [0.80, 0.81, 0.82],
    "both": [0.90, 0.92, 0.91],
    "full3d": [0.88, 0.93, 0.90],
    "residual_s2": [0.78, 0.80, 0.79],
    "residual_s4": [0.60, 0.61, 0.66],
    "no_attention": [0.85, 0.86, 0.87],
    "no_feature_residual": [0.84, 0.84, 0.84],
    "plain": [0.70, 0.72, 0.73],
}


@pytest.fixture
def scores():
    """Video top-1 of three seeds of all rows; may be changed."""
    return {row: list(values) for row, values in SCORES.items()}

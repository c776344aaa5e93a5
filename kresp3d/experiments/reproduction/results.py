"""What a reproduction has found so far, read from its run folders, and written as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from kresp3d.config.schema import Config
from kresp3d.experiments.cost import Cost
from kresp3d.experiments.jobs import Status
from kresp3d.experiments.reproduction.claims import Judgement
from kresp3d.experiments.reproduction.tables import find_table, rows_of
from kresp3d.system.files import write_csv
from kresp3d.training.process import Training

#: The measured shares, by their names in `metrics.json`.
MEASURES = ("clip_top1", "clip_top5", "video_top1", "video_top5")


@dataclass(frozen=True)
class Result:
    """A training and what came of it."""

    row: str
    seed: int
    status: Status = "waiting"
    epochs: int = 0
    """Finished epochs."""
    seconds: float = 0.0
    """Of training, without preparing and measuring."""
    scores: Mapping[str, float | None] | None = None
    """The measures of a training that is done, shares; top-5 is `None` where it covers all classes."""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Mean:
    """A measure over the finished seeds of a row."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """The mean, a share."""
        return fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation; `None` with fewer than two values."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Results:
    """All trainings of a reproduction that are planned or begun.

    Args:
        base: The configuration that they share.
        tables: The numbers of the tables that are shown.
        trainings: The trainings, seed by seed.
    """

    base: Config
    tables: tuple[int, ...]
    trainings: tuple[Result, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows of the tables."""
        return rows_of(self.tables)

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, in order."""
        return tuple(sorted({result.seed for result in self.trainings}))

    def with_status(self, *statuses: Status) -> list[Result]:
        """The trainings of some statuses."""
        return [result for result in self.trainings if result.status in statuses]

    @property
    def is_complete(self) -> bool:
        """Whether all trainings are done."""
        return len(self.with_status("done")) == len(self.trainings)

    def scores(self, measure: str = "video_top1") -> dict[str, dict[int, float]]:
        """Row -> seed -> a measure, of the trainings that are done."""
        found: dict[str, dict[int, float]] = {row: {} for row in self.rows}
        for result in self.with_status("done"):
            value = (result.scores or {}).get(measure)
            if value is not None:
                found[result.row][result.seed] = value
        return found

    def mean(self, row: str, measure: str = "video_top1") -> Mean:
        """A measure of a row over its finished seeds."""
        return Mean(tuple(value for _, value in sorted(self.scores(measure)[row].items())))


def read_result(training: Training, row: str, seed: int, status: Status, reason: str = "") -> Result:
    """Read what a run folder says of a training.

    Args:
        training: The training.
        row: Its row.
        seed: Its seed.
        status: How it stands.
        reason: Why its last try failed, if it did.
    """
    scores = _scores(training.metrics()) if status == "done" else None
    return Result(row, seed, status, training.epoch, training.seconds, scores, reason if status == "failed" else "")


def _scores(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    # Top-k over k classes is right whatever the network says.
    is_empty = metrics["top_k"] >= metrics["classes"]
    return {name: None if is_empty and name.endswith("top5") else metrics[name] for name in MEASURES}


def write_results(path: Path, results: Results, costs: Mapping[str, Cost]) -> None:
    """Write one row for each training; shares are from 0 to 1, and empty where there is none."""
    head = ["row", "seed", "status", *MEASURES, "parameters", "macs", "seconds", "epochs", "reason"]
    rows = [
        [
            *(result.row, result.seed, result.status),
            *(_number((result.scores or {}).get(name)) for name in MEASURES),
            *(costs[result.row].parameters, costs[result.row].macs),
            *(f"{result.seconds:.1f}", result.epochs, result.reason),
        ]
        for result in results.trainings
    ]
    write_csv(path, head, rows)


def write_tables(path: Path, results: Results, costs: Mapping[str, Cost]) -> None:
    """Write one row for each line of each table: means and standard deviations over seeds, and the paper's numbers."""
    means = [column for name in MEASURES for column in (name, f"{name}_sd")]
    head = ["table", "row", "label", "seeds", *means, "paper_top1", "paper_top5", "parameters", "macs"]
    rows = []
    for number in results.tables:
        for entry in find_table(number).entries:
            found = [results.mean(entry.row, name) for name in MEASURES]
            values = [_number(value) for mean in found for value in (mean.mean, mean.spread)]
            paper = (_number(entry.top1, 3), _number(entry.top5, 3))
            cost = costs[entry.row]
            count = len(results.mean(entry.row).values)
            rows.append([number, entry.row, entry.label, count, *values, *paper, cost.parameters, cost.macs])
    write_csv(path, head, rows)


def write_claims(path: Path, judgements: Iterable[Judgement]) -> None:
    """Write one row for each comparison of each claim; differences are of shares."""
    head = ["table", "claim", "claim_verdict", "better", "worse", "seeds", "paper_difference", "difference"]
    head += ["low", "high", "sd", "p", "detectable", "verdict", "reason"]
    rows = [
        [
            *(judgement.claim.table, judgement.claim.words, judgement.verdict),
            *(comparison.better, comparison.worse, len(comparison.differences), _number(comparison.paper, 3)),
            *(_number(comparison.mean), *(_number(bound) for bound in comparison.interval or (None, None))),
            *(_number(comparison.spread), _number(comparison.p), _number(comparison.detectable)),
            *(comparison.verdict, comparison.reason),
        ]
        for judgement in judgements
        for comparison in judgement.comparisons
    ]
    write_csv(path, head, rows)


def _number(value: float | None, digits: int = 6) -> str:
    return "" if value is None else f"{value:.{digits}f}"

"""A reproduction on disk.

runs/NAME/
  reproduction.yaml  the configuration that all trainings share
  ROW/seed-K/        a run folder for each training
  results.csv, tables.csv, claims.csv, report.md, figures/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kresp3d.experiments.folder import ExperimentFolder
from kresp3d.experiments.reproduction.tables import ROWS, TABLES, rows_of
from kresp3d.training.process import Training

_RESULTS = ("results.csv", "tables.csv", "claims.csv", "report.md", "figures")


@dataclass(frozen=True)
class ReproductionFolder(ExperimentFolder):
    """A reproduction on disk. `path` is its folder. The number of seeds and the tables may change when it goes on."""

    noun = "a reproduction"
    doing = "reproducing"
    config_name = "reproduction.yaml"

    @property
    def parts(self) -> tuple[str, ...]:
        """The results, and a folder for each row."""
        return (*_RESULTS, *ROWS)

    @property
    def is_begun(self) -> bool:
        """Whether there is a training in it."""
        return bool(self.begun())

    def training(self, row: str, seed: int) -> Training:
        """The training of a row with a seed, begun or not."""
        return Training(self.path / row / f"seed-{seed}")

    def begun(self) -> dict[str, set[int]]:
        """Row -> the seeds with which its training was begun."""
        found: dict[str, set[int]] = {}
        for row in ROWS:
            numbers = {path.name.removeprefix("seed-") for path in (self.path / row).glob("seed-*") if path.is_dir()}
            if numbers:
                found[row] = {int(number) for number in numbers if number.isdigit()}
        return found

    def tables(self, asked: Sequence[int]) -> tuple[int, ...]:
        """The tables that are asked for or were begun earlier: those with a row of their own that has a training."""
        begun = self.begun().keys()
        return tuple(
            table.number
            for table in TABLES
            if table.number in asked
            or begun & set(table.rows) - set(rows_of(other.number for other in TABLES if other is not table))
        )

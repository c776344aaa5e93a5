"""A cross-validation on disk.

runs/NAME-crossval/
  crossval.yaml      the configuration that all trainings share
  folds.json         which video is tested in which fold
  fold-K/            a run folder for each fold
  report.md, metrics.json, folds.csv, predictions.csv, per_class.csv, per_group.csv, figures/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kresp3d.experiments.folder import ExperimentFolder
from kresp3d.training.process import Training

_RESULTS = (
    *("report.md", "metrics.json", "folds.csv", "predictions.csv", "per_class.csv", "per_group.csv", "figures"),
    "folds.json",
)
#: A run folder, and what is beside it.
_FOLD = re.compile(r"fold-[0-9]+(\.yaml|\.log)?")


@dataclass(frozen=True)
class CrossValidationFolder(ExperimentFolder):
    """A cross-validation on disk. `path` is its folder."""

    settles = True
    noun = "a cross-validation"
    doing = "cross-validating"
    config_name = "crossval.yaml"

    @property
    def parts(self) -> tuple[str, ...]:
        """The results, and what is there of each fold."""
        return (*_RESULTS, *self._of_folds())

    @property
    def is_begun(self) -> bool:
        """Whether there is a training in it."""
        return any((self.path / name).is_dir() for name in self._of_folds())

    def _of_folds(self) -> list[str]:
        return [path.name for path in self.path.glob("fold-*") if _FOLD.fullmatch(path.name)]

    @property
    def plan_file(self) -> Path:
        """Which video is tested in which fold."""
        return self.path / "folds.json"

    def training(self, fold: int) -> Training:
        """The training of a fold, begun or not."""
        return Training(self.path / f"fold-{fold}")

"""Running the trainings of a cross-validation, one or several at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from kresp3d.config.schema import Config
from kresp3d.experiments.crossvalidation.folder import CrossValidationFolder
from kresp3d.experiments.crossvalidation.plan import Plan, fold_config, validation_fraction
from kresp3d.experiments.crossvalidation.results import FoldResult, Results, read_fold
from kresp3d.experiments.jobs import Callback, Jobs, nothing
from kresp3d.records.index import Records
from kresp3d.runs.run_folder import RunFolder
from kresp3d.training.process import Training


@dataclass
class Runner:
    """Runs what is not done yet of the folds. Nothing but the run folders says what is done.

    Args:
        folder: The cross-validation's.
        base: The configuration that the trainings share.
        plan: Which video is tested in which fold.
        records: The prepared videos.
        jobs: Trainings at a time; with more than one, each has its share of the cores.
    """

    folder: CrossValidationFolder
    base: Config
    plan: Plan
    records: Records
    jobs: int = 1
    trainings: Jobs[int] = field(init=False)

    def __post_init__(self) -> None:
        self.trainings = Jobs(
            training=self.folder.training, begin=self._begin, epochs=self.base.training.epochs, jobs=self.jobs
        )

    def _begin(self, fold: int, training: Training) -> None:
        config = fold_config(self.base, fold)
        training.write_config(config)
        if not training.run.config_file.is_file():
            RunFolder.create(training.path, config)
        # Else training would split the videos as the records say.
        if not training.run.has_data:
            training.run.write_data(self._records(fold))

    def _records(self, fold: int) -> Records:
        return self.plan.records(self.records, fold, validation_fraction(self.base), self.base.data.split_seed)

    def results(self) -> Results:
        """All folds, as they stand."""
        return Results(self.base, self.plan, tuple(self._result(fold) for fold in self.plan.numbers))

    def _result(self, fold: int) -> FoldResult:
        videos: Counter[str] = Counter(
            self.plan.splits(fold, validation_fraction(self.base), self.base.data.split_seed).values()
        )
        status, reason = self.trainings.status(fold), self.trainings.failures.get(fold, "")
        return read_fold(self.folder.training(fold), self.plan, fold, videos, status, reason)

    def run(self, *, on_epoch: Callback = nothing, on_change: Callback = nothing) -> None:
        """Train what is not done; see `Jobs.run`."""
        self.trainings.run(self.plan.numbers, on_epoch=on_epoch, on_change=on_change)

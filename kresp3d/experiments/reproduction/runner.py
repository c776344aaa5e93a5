"""Running the trainings of a reproduction, one or several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kresp3d.config.schema import Config
from kresp3d.experiments.jobs import Callback, Jobs, nothing
from kresp3d.experiments.reproduction.folder import ReproductionFolder
from kresp3d.experiments.reproduction.results import Result, Results, read_result
from kresp3d.experiments.reproduction.tables import row_config, rows_of
from kresp3d.training.process import Training


@dataclass
class Runner:
    """Runs what is not done yet of the trainings of some tables, seed by seed.

    So an early stop leaves whole tables with fewer seeds. Nothing but the run folders says what is done.

    Args:
        folder: The reproduction's.
        base: The configuration that the trainings share.
        tables: Numbers of tables.
        seeds: Trainings of each row.
        jobs: Trainings at a time; with more than one, each has its share of the cores.
    """

    folder: ReproductionFolder
    base: Config
    tables: Sequence[int]
    seeds: int
    jobs: int = 1
    trainings: Jobs[tuple[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.trainings = Jobs(
            training=lambda key: self.folder.training(*key),
            begin=self._begin,
            epochs=self.base.training.epochs,
            jobs=self.jobs,
        )

    def _begin(self, key: tuple[str, int], training: Training) -> None:
        training.write_config(row_config(self.base, *key))

    @property
    def planned(self) -> list[tuple[str, int]]:
        """Row and seed of each training, in the order of the work."""
        seeds = range(self.base.seed, self.base.seed + self.seeds)
        return [(row, seed) for seed in seeds for row in rows_of(self.tables)]

    def results(self) -> Results:
        """What is planned or was begun earlier, as it stands."""
        tables = self.folder.tables(self.tables)
        begun = {(row, seed) for row, seeds in self.folder.begun().items() for seed in seeds}
        wanted = set(self.planned) | begun
        order = rows_of(tables)
        keys = sorted((key for key in wanted if key[0] in order), key=lambda key: (key[1], order.index(key[0])))
        return Results(self.base, tables, tuple(self._result(row, seed) for row, seed in keys))

    def _result(self, row: str, seed: int) -> Result:
        key = (row, seed)
        training = self.folder.training(row, seed)
        return read_result(training, row, seed, self.trainings.status(key), self.trainings.failures.get(key, ""))

    def run(self, *, on_epoch: Callback = nothing, on_change: Callback = nothing) -> None:
        """Train what is not done; see `Jobs.run`."""
        self.trainings.run(self.planned, on_epoch=on_epoch, on_change=on_change)

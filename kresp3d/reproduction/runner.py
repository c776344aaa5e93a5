"""Running the trainings of a reproduction, one or several at a time."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise

from kresp3d.config import Config
from kresp3d.files import log_file
from kresp3d.reproduction.folder import ReproductionFolder
from kresp3d.reproduction.results import Result, Results, read_result
from kresp3d.reproduction.tables import row_config, rows_of
from kresp3d.training import process as processes
from kresp3d.training.process import Training


@dataclass(frozen=True)
class _Running:
    row: str
    seed: int
    training: Training
    process: subprocess.Popen[bytes]
    log_begun: int
    closing: ExitStack


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
        on_epoch: Called when a training has finished an epoch.
        on_change: Called when a training has begun or ended.
    """

    folder: ReproductionFolder
    base: Config
    tables: Sequence[int]
    seeds: int
    jobs: int = 1
    on_epoch: Callable[[], None] = lambda: None
    on_change: Callable[[], None] = lambda: None
    _running: dict[int, _Running] = field(default_factory=dict, init=False)
    _failures: dict[tuple[str, int], str] = field(default_factory=dict, init=False)

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
        training = self.folder.training(row, seed)
        is_running = any(running.training == training for running in self._running.values())
        failure = self._failures.get((row, seed))
        epochs = self.base.training.epochs
        return read_result(training, row, seed, epochs, is_running=is_running, failure=failure)

    def run(self) -> None:
        """Train until all is done or has failed. Where this is interrupted, the trainings are too."""
        waiting = deque(key for key in self.planned if not self._is_done(self.folder.training(*key)))
        cores = share_cores(sorted(os.sched_getaffinity(0)), self.jobs)
        shown: dict[int, int] = {}
        try:
            while waiting or self._running:
                for slot in range(self.jobs):
                    if slot not in self._running and waiting:
                        self._running[slot] = self._start(*waiting.popleft(), cores[slot] if self.jobs > 1 else None)
                        self.on_change()
                time.sleep(processes.POLL)
                for slot, running in list(self._running.items()):
                    if running.process.poll() is not None:
                        del self._running[slot]
                        self._finish(running)
                        self.on_change()
                epochs = {slot: running.training.epoch for slot, running in self._running.items()}
                if epochs != shown:
                    shown = epochs
                    self.on_epoch()
        finally:
            processes.end(running.process for running in self._running.values())
            for running in self._running.values():
                running.closing.close()
            self._running.clear()

    def _is_done(self, training: Training) -> bool:
        is_done = training.is_done(self.base.training.epochs)
        if is_done:
            # What a kill after the last epoch left.
            training.remove_checkpoints()
        return is_done

    def _start(self, row: str, seed: int, cores: frozenset[int] | None) -> _Running:
        training = self.folder.training(row, seed)
        training.write_config(row_config(self.base, row, seed))
        closing = ExitStack()
        log_begun = training.log_size
        log = closing.enter_context(log_file(training.log))
        process = closing.enter_context(processes.start(training.command(), log, cores))
        return _Running(row, seed, training, process, log_begun, closing)

    def _finish(self, running: _Running) -> None:
        running.closing.close()
        code = running.process.returncode
        if not self._is_done(running.training):
            self._failures[running.row, running.seed] = (
                f"ended without being measured; see {running.training.log}"
                if code == 0
                else running.training.reason(code, running.log_begun)
            )


def share_cores(cores: Sequence[int], jobs: int) -> list[frozenset[int]]:
    """Divide cores among jobs as evenly as can be, neighbours together; more jobs than cores take turns.

    Args:
        cores: The numbers of the cores, at least one.
        jobs: The number of jobs.
    """
    if jobs >= len(cores):
        return [frozenset({cores[job % len(cores)]}) for job in range(jobs)]
    bounds = [job * len(cores) // jobs for job in range(jobs + 1)]
    return [frozenset(cores[low:high]) for low, high in pairwise(bounds)]


def continue_command(command: str) -> str:
    """The command line that goes on where another one ended."""
    words = [word for word in shlex.split(command) if word not in ("--overwrite", "--resume")]
    return shlex.join([*words, "--resume"])

"""A sweep: trials that an oracle chooses, run one after the other, here or by workers on other machines.

runs/NAME/
  sweep.yaml     the configuration, with its space
  journal.jsonl  what happened, in order; the rest is made of it
  trials/        a folder for each trial, with a run folder for each seed
  trials.csv, best.yaml, report.md, figures/, logs/ (TensorBoard)
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial

from kresp3d.config.schema import Config, changed_keys, load_config
from kresp3d.experiments.tuning.journal import Journal, Outcome
from kresp3d.experiments.tuning.oracle import DIGEST, OBJECTIVE, JournaledOracle, with_outcome
from kresp3d.experiments.tuning.space import SearchSpace
from kresp3d.experiments.tuning.trial import TrialRunner
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import locked, names_in, remove, write_text

logger = logging.getLogger("kresp3d")

#: Seconds after which a worker that had nothing to do asks again.
IDLE = 1.0
_OWN = ("sweep.yaml", "journal.jsonl", "trials", "trials.csv", "best.yaml", "report.md", "figures", "logs")


@dataclass(frozen=True)
class SweepFolder:
    """A sweep on disk. `path` is its folder."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The configuration of the sweep."""
        return self.path / "sweep.yaml"

    @property
    def trials(self) -> Path:
        """A folder for each trial."""
        return self.path / "trials"

    @property
    def journal_file(self) -> Path:
        """What happened."""
        return self.path / "journal.jsonl"

    def check(self, config: Config, *, resume: bool = False, overwrite: bool = False) -> None:
        """Make sure that a sweep may begin here, or go on. Nothing is written.

        Raises:
            KrespError: If the folder holds something else, or a sweep with a trial and nothing says what to do with it.
            UsageError: If a resumed sweep was begun with another configuration; the number of trials may change.
        """
        names, foreign = names_in(self.path, _OWN, "a sweep")
        if foreign or (names and not self.config_file.is_file() and set(names) - {".lock"}):
            what = (foreign or names)[0]
            raise KrespError(f"{self.path} holds something that is no part of a sweep ({what}); give another --out")
        if self.config_file.is_file() and resume:
            changed = changed_keys(load_config(self.config_file), config, besides=("tune.trials",))
            if changed:
                raise UsageError(
                    f"{self.path} was begun with another {changed[0][0]}"
                    + (f" (and {len(changed) - 1} other keys differ)" if len(changed) > 1 else "")
                    + "; resume with the same configuration, or give another --out"
                )
        elif Journal(self.journal_file).events and not overwrite:
            raise KrespError(
                f"{self.path} holds a sweep already; go on with it by --resume, begin anew by --overwrite, "
                "or give another folder by --out"
            )

    def begin(self, config: Config, *, resume: bool = False, overwrite: bool = False) -> None:
        """Make the folder ready; one that goes on keeps its trials. For whoever holds its lock.

        Raises:
            KrespError: As `check`.
            UsageError: As `check`.
        """
        self.check(config, resume=resume, overwrite=overwrite)
        if self.config_file.is_file() and resume:
            write_text(self.config_file, config.to_yaml())
            return
        # The configuration goes last: with it the rest is known for a sweep's, should this be interrupted.
        for name in reversed(_OWN):
            remove(self.path / name)
        self.trials.mkdir(parents=True)
        write_text(self.config_file, config.to_yaml())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from a sweep into this folder, which is made where it is missing."""
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path, f"tuning in {self.path}; wait for it, or give another --out"):
            yield


class Sweep(BaseTuner):
    """keras-tuner's loop over trials, with a training process for each.

    In a worker's process `oracle` is what keras-tuner puts in the place of the chief's.

    Args:
        oracle: What chooses.
        runner: What trains.
        space: The search space.
        scratch: A folder for keras-tuner's own state, which nobody reads.
        before_request: Called before the oracle is asked or told something.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        runner: TrialRunner,
        space: SearchSpace,
        scratch: Path,
        before_request: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(oracle, directory=str(scratch), project_name="oracle")
        self.runner = runner
        self.space = space
        self.before_request = before_request
        self._outcome = Outcome("failed")
        self._asked = 0.0

    def pre_create_trial(self) -> None:
        """Keep a worker that has nothing to do from asking without a pause."""
        self.before_request()
        time.sleep(max(0.0, self._asked + IDLE - time.monotonic()))
        self._asked = time.monotonic()

    def run_trial(self, trial: Trial, *arguments: Any, **options: Any) -> dict[str, float]:
        """Train and measure; what keras-tuner calls for each trial."""
        values = trial.hyperparameters.values
        if values[DIGEST] != self.space.digest:
            error = UsageError(
                f"the chief's configuration is not that of {self.space.where}; give chief and workers the same file"
            )
            raise keras_tuner.errors.FatalValueError(str(error)) from error
        try:
            with _sign_of_life(self.oracle, trial.trial_id):
                self._outcome = self.runner.run(
                    trial.trial_id,
                    self.space.decode(values),
                    past=values.get("tuner/trial_id"),
                    until=values.get("tuner/epochs"),
                )
        except Exception as error:
            # Nothing of the trial's own, such as a full disk: keras-tuner ends the search for such errors alone.
            raise keras_tuner.errors.FatalRuntimeError(str(error)) from error
        self._asked = 0.0
        # keras-tuner wants a number even of a trial that failed; what counts is the outcome, which `end_trial` takes.
        return {OBJECTIVE: self._outcome.score or 0.0}

    def on_trial_end(self, trial: Trial) -> None:
        """Tell the oracle."""
        self.before_request()
        self.oracle.end_trial(with_outcome(trial, self._outcome))

    def work(self) -> None:
        """Run trials until there are no more.

        Raises:
            KrespError: What ended the sweep.
        """
        try:
            self.search(verbose=0)
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ or error from None
        except grpc.RpcError as error:
            raise KrespError(f"the chief does not answer as it should ({error.details()}); see what it says") from error


@contextmanager
def _sign_of_life(oracle: Any, trial: str, interval: float = 5.0) -> Iterator[None]:
    """Look the trial up again and again, by which a chief knows that its worker is there."""
    if isinstance(oracle, JournaledOracle):
        yield
        return
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(interval):
            try:
                oracle.get_trial(trial)
            except grpc.RpcError as error:
                # Whether that matters shows when the trial has ended and is reported.
                logger.debug("no sign of life could be given: %s", error)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()

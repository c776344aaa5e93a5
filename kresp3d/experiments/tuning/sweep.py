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
from pathlib import Path
from typing import Any

import grpc
import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial

from kresp3d.config.schema import Config
from kresp3d.experiments.folder import ExperimentFolder
from kresp3d.experiments.tuning.journal import Journal, Outcome
from kresp3d.experiments.tuning.oracle import DIGEST, OBJECTIVE, JournaledOracle, with_outcome
from kresp3d.experiments.tuning.space import SearchSpace
from kresp3d.experiments.tuning.trial import TrialRunner
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import write_text

logger = logging.getLogger("kresp3d")

#: Seconds after which a worker that had nothing to do asks again.
IDLE = 1.0


class SweepFolder(ExperimentFolder):
    """A sweep on disk; the number of its trials may change when it goes on."""

    noun = "a sweep"
    doing = "tuning"
    config_name = "sweep.yaml"
    free = ("tune.trials",)

    @property
    def parts(self) -> tuple[str, ...]:
        """What it may hold."""
        return ("journal.jsonl", "trials", "trials.csv", "best.yaml", "report.md", "figures", "logs")

    @property
    def is_begun(self) -> bool:
        """Whether there is a trial."""
        return bool(Journal(self.journal_file).events)

    @property
    def trials(self) -> Path:
        """A folder for each trial."""
        return self.path / "trials"

    @property
    def journal_file(self) -> Path:
        """What happened."""
        return self.path / "journal.jsonl"

    def begin(self, config: Config, *, resume: bool = False, overwrite: bool = False) -> None:
        """Make the folder ready; one that goes on keeps its trials. For whoever holds its lock."""
        super().begin(config, resume=resume, overwrite=overwrite)
        self.trials.mkdir(parents=True, exist_ok=True)
        write_text(self.config_file, config.to_yaml())


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

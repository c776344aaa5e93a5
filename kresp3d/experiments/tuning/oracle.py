"""keras-tuner's oracles, with a journal: what they were asked and told is written down, and can be told again."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from kresp3d.experiments.tuning.journal import Begun, Ended, Journal, Outcome
from kresp3d.experiments.tuning.space import SearchSpace
from kresp3d.system.errors import KrespError

#: What is maximised: video top-1 on the validation videos.
OBJECTIVE = "video_top1"
#: A value that no trial varies: the digest of the configuration, by which chief and workers know that theirs are equal.
DIGEST = "kresp3d/configuration"
#: Where a trial carries its outcome to the oracle: of what travels from a worker to the chief, only values can be text.
_OUTCOME = "kresp3d/outcome"
#: Trials of random and Bayesian search where the configuration does not say how many.
DEFAULT_TRIALS = 20
#: How often a trial whose worker is gone is tried again; one that takes its worker down each time must end somewhere.
RETRIES = 5


class JournaledOracle(keras_tuner.Oracle):
    """An oracle that writes into a journal and notices workers that are gone. Mixed into keras-tuner's.

    Of its two jobs the second is for sweeps with a chief and workers: keras-tuner gives a trial to a worker and waits
    for it for ever.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.journal: Journal | None = None
        self.on_event: Callable[[], None] = lambda: None
        self.failure: Exception | None = None
        """What ended the search before its time."""
        self._seen: dict[str, float] = {}
        self.has_ended = False
        """Whether a worker was told that there are no more trials."""
        self.limit: int | None = None
        """Most trials. Not keras-tuner's `max_trials`, by which it names the trials: a sweep may be extended."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Choose the values of a trial, unless there are enough trials."""
        if self.limit is not None and len(self.trials) >= self.limit:
            return {"status": TrialStatus.STOPPED, "values": None}
        values: dict[str, Any] = super().populate_space(trial_id)
        return values

    def begin(self, journal: Journal) -> None:
        """Do again what a journal says, then go on writing into it.

        Raises:
            KrespError: If the journal is of another search.
        """
        for event in journal.events:
            if isinstance(event, Begun):
                trial = self._create(event.worker)
                values = trial.hyperparameters.values or {}
                if trial.trial_id != event.trial or values.get(DIGEST) != event.values[DIGEST]:
                    raise KrespError(
                        f"{journal.path} is of another search: trial {event.trial} does not come up in this one; "
                        "begin anew by --overwrite"
                    )
                # A Gaussian process may differ in the last digits from one machine to the next.
                trial.hyperparameters.values = dict(event.values)
            else:
                self._end(self.get_trial(event.trial), event.outcome)
        self.journal = journal

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """Give a worker its next trial, or the one that it has already; none after a failure."""
        if self.failure is None:
            with self._failure_kept():
                return self._create(tuner_id)
        return Trial(self.get_space(), trial_id="", status=TrialStatus.STOPPED)

    def _create(self, tuner_id: str) -> Trial:
        self._seen[tuner_id] = time.monotonic()
        has_one = tuner_id in self.ongoing_trials
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
            # Should the worker of one of these be lost, somebody must be there to run it again.
            trial.status = TrialStatus.IDLE
        self.has_ended = trial.status == TrialStatus.STOPPED
        if trial.status == TrialStatus.RUNNING and not has_one and self.journal is not None:
            self.journal.append(Begun(trial.trial_id, tuner_id, dict(trial.hyperparameters.values)))
            self.on_event()
        return trial

    @keras_tuner.synchronized
    def get_trial(self, trial_id: str) -> Trial:
        """Look a trial up. Workers do so again and again, as a sign of life."""
        for tuner_id, ongoing in self.ongoing_trials.items():
            if ongoing.trial_id == trial_id:
                self._seen[tuner_id] = time.monotonic()
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> Trial:
        """Leave a trial as it is: the score comes with its end."""
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Take the outcome of a trial, which `with_outcome` has put into it."""
        with self._failure_kept():
            outcome = Outcome.from_json(trial.hyperparameters.values.pop(_OUTCOME))
            # A worker that counted as lost may come back with a trial that another one has been given.
            if any(ongoing.trial_id == trial.trial_id for ongoing in self.ongoing_trials.values()):
                if self.journal is not None:
                    self.journal.append(Ended(trial.trial_id, outcome))
                self._end(trial, outcome)
                self.on_event()

    def _end(self, trial: Trial, outcome: Outcome) -> None:
        if outcome.status in ("done", "stopped"):
            super().update_trial(trial.trial_id, {OBJECTIVE: outcome.score})
            trial.status = TrialStatus.COMPLETED
        else:
            trial.status = TrialStatus.INVALID if outcome.status == "lost" else TrialStatus.FAILED
        # keras-tuner prints how often a trial may be tried again.
        with redirect_stdout(io.StringIO()) if outcome.status == "lost" else nullcontext():
            super().end_trial(trial)

    @contextmanager
    def _failure_kept(self) -> Iterator[None]:
        """Keep what goes wrong, such as a full disk, and end the search.

        Raised in a thread that serves a worker, it would end nothing but that call, and leave keras-tuner's lock held.
        """
        try:
            yield
        except Exception as error:
            self.failure = error
            # A chief ends when it knows of no trial and no worker.
            self.ongoing_trials.clear()
            self.tuner_ids.clear()

    @keras_tuner.synchronized
    def give_up_on_lost_workers(self, patience: float) -> list[str]:
        """Take the trials of workers that gave no sign for `patience` seconds, to be run again by others.

        Returns:
            The workers' names.
        """
        now = time.monotonic()
        lost = [name for name in self.tuner_ids if now - self._seen.setdefault(name, now) > patience]
        for name in lost:
            if name in self.ongoing_trials:
                outcome = Outcome("lost", reason=f"worker {name} gave no sign for {patience:g} s")
                self.end_trial(with_outcome(self.ongoing_trials[name], outcome))
            self.tuner_ids.discard(name)
        return lost


class GridOracle(JournaledOracle, keras_tuner.oracles.GridSearchOracle):
    """All combinations in turn."""


class RandomOracle(JournaledOracle, keras_tuner.oracles.RandomSearchOracle):
    """Combinations by chance."""


class BayesianOracle(JournaledOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Combinations that a Gaussian process expects most of."""


class HyperbandOracle(JournaledOracle, keras_tuner.oracles.HyperbandOracle):
    """Combinations by chance, of which the better ones are trained for longer."""


def with_outcome(trial: Trial, outcome: Outcome) -> Trial:
    """A trial that is ready for `JournaledOracle.end_trial`."""
    trial.hyperparameters.values[_OUTCOME] = outcome.to_json()
    return trial


def make_oracle(space: SearchSpace) -> JournaledOracle:
    """The oracle of a configuration; its `begin` is still to be called."""
    config = space.base
    common: dict[str, Any] = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "hyperparameters": make_hyperparameters(space),
        # keras-tuner takes 0 for none, and then draws a seed.
        "seed": config.seed + 1,
        "max_retries_per_trial": RETRIES,
        # A trial that fails never ends the sweep.
        "max_consecutive_failed_trials": 10**9,
    }
    oracle: JournaledOracle
    match config.tune.oracle:
        case "grid":
            oracle = GridOracle(**common)
        case "random":
            oracle = RandomOracle(max_trials=None, **common)
        case "bayesian":
            oracle = BayesianOracle(max_trials=None, **common)
        case "hyperband":
            oracle = HyperbandOracle(max_epochs=config.training.epochs, **common)
    has_end = config.tune.oracle in ("grid", "hyperband")
    oracle.limit = config.tune.trials or (None if has_end else DEFAULT_TRIALS)
    oracle.verbose = 0
    return oracle


def make_hyperparameters(space: SearchSpace) -> keras_tuner.HyperParameters:
    """The space in keras-tuner's terms."""
    hyperparameters = keras_tuner.HyperParameters()
    for key in space.order:
        dimension = space.dimensions[key]
        sampling = "log" if dimension.log else "linear"
        with ExitStack() as conditions:
            for parent, values in dimension.when.items():
                allowed = [space.encode(parent, value) for value in values]
                conditions.enter_context(hyperparameters.conditional_scope(parent, allowed))
            if dimension.boolean:
                hyperparameters.Boolean(key)
            elif dimension.choice is not None:
                hyperparameters.Choice(key, [space.encode(key, value) for value in dimension.choice])
            elif dimension.integers is not None:
                step = None if dimension.step is None else int(dimension.step)
                hyperparameters.Int(key, *dimension.integers, step=step, sampling=sampling)
            elif dimension.numbers is not None:
                hyperparameters.Float(key, *dimension.numbers, step=dimension.step, sampling=sampling)
    hyperparameters.Fixed(DIGEST, space.digest)
    return hyperparameters


def count_trials(space: SearchSpace, most: int = 10_000) -> int:
    """How many trials a sweep has, found by going through it without running any.

    Bayesian search may have fewer, if it runs out of new values. Counting ends at `most`.
    """
    oracle = make_oracle(space)
    if isinstance(oracle, BayesianOracle) and oracle.limit is not None:
        return oracle.limit
    done = Outcome("done", scores=(0.0,))
    with use_temporary_folder(oracle):
        for number in range(most):
            trial = oracle.create_trial("count")
            if trial.status != TrialStatus.RUNNING:
                return number
            oracle.end_trial(with_outcome(trial, done))
    return most


@contextmanager
def use_temporary_folder(oracle: keras_tuner.Oracle) -> Iterator[Path]:
    """Within the block, an oracle writes the state that nobody reads into a folder that is then deleted."""
    with tempfile.TemporaryDirectory(prefix="kresp3d-tune-") as folder:
        oracle._set_project_dir(folder, "oracle")
        yield Path(folder)

"""One trial: a training for each seed, in a process of its own and a run folder such as `trials/0007/seed-0`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from kresp3d.experiments.tuning.journal import Outcome
from kresp3d.experiments.tuning.space import SearchSpace
from kresp3d.runs.run_folder import CANNOT_WRITE
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import copy_tree, log_file
from kresp3d.training.process import POLL, Training, training_process

#: Finished trainings that a training is compared with, at the least, before it is ended early.
ENOUGH = 3


@dataclass(frozen=True)
class Glimpse:
    """How far a trial is."""

    seed: int
    epoch: int
    epochs: int
    top1: float | None
    """The last validation clip top-1."""


@dataclass(frozen=True)
class TrialRunner:
    """Runs trials of a sweep, in its folder.

    Args:
        folder: The sweep's `trials/`.
        space: The search space.
        on_glimpse: Called when a training has finished an epoch.
    """

    folder: Path
    space: SearchSpace
    on_glimpse: Callable[[Glimpse], None] = lambda glimpse: None

    def run(
        self, trial: str, settings: Mapping[str, Any], past: str | None = None, until: int | None = None
    ) -> Outcome:
        """Train and measure a trial; what is finished of it already is not done again.

        Args:
            trial: Its name.
            settings: Its settings, by key.
            past: A trial with the same settings whose trainings are gone on with.
            until: Stop after this epoch.

        Raises:
            KrespError: If its folder cannot be written into.
        """
        began = time.monotonic()
        base = self.space.base
        outcome = Outcome("done")
        for seed in range(base.seed, base.seed + base.tune.seeds):
            training = Training(self.folder / trial / f"seed-{seed}")
            try:
                config = self.space.config(settings, seed)
            except UsageError as error:
                outcome = replace(outcome, status="failed", reason=str(error))
                break
            epochs = min(until or config.training.epochs, config.training.epochs)
            if not training.is_done(epochs):
                training.write_config(config)
                if past is not None:
                    take_over(training, self.folder / past / training.path.name)
                reason = self._watch(training, seed, epochs)
                if reason is not None and reason.startswith(CANNOT_WRITE):
                    # Nothing of the trial's own, which would be taken for a bad one for good.
                    raise KrespError(reason)
                if reason is not None:
                    outcome = replace(outcome, status="failed", epochs=training.epoch, reason=reason)
                    break
            is_done = training.is_done(epochs)
            score = float(training.metrics()["video_top1"]) if is_done else max(training.curve(), default=0.0)
            outcome = replace(outcome, scores=(*outcome.scores, score), epochs=training.epoch)
            if base.tune.oracle != "hyperband":
                training.remove_checkpoints()
            if not is_done:
                outcome = replace(outcome, status="stopped", reason="worse than the median of the others")
                break
        return replace(outcome, seconds=time.monotonic() - began)

    def _watch(self, training: Training, seed: int, epochs: int) -> str | None:
        """Run a training until it ends or is to be ended; the reason if it failed."""
        stop_early = self.space.base.tune.stop_early
        others = self._finished_curves(training) if stop_early else []
        command = training.command("--until", str(epochs))
        shown = 0
        begun = training.log_size
        with log_file(training.log) as log, training_process(command, log) as process:
            while process.poll() is None:
                time.sleep(POLL)
                curve = training.curve()
                if len(curve) > shown:
                    shown = len(curve)
                    self.on_glimpse(Glimpse(seed, shown, epochs, curve[-1]))
                    if stop_early and stop_early <= shown < epochs and is_worse(curve, others):
                        return None
        return None if process.returncode == 0 else training.reason(process.returncode, begun)

    def _finished_curves(self, training: Training) -> list[list[float]]:
        """Validation top-1 by epoch of the sweep's finished trainings."""
        runs = [run for trial in sorted(self.folder.iterdir()) for run in sorted(trial.glob("seed-*"))]
        found = [Training(run) for run in runs if (run / "metrics.json").is_file()]
        return [other.curve() for other in found if other.path != training.path]


def take_over(training: Training, past: Path) -> None:
    """Begin a training with a copy of another one, where that is within reach."""
    if training.path.exists() or not (past / "checkpoints").is_dir():
        return
    # Without its figures, which are those of the shorter training.
    copy_tree(past, training.path, leave_out=(".lock", "metrics.json", "report.md", "figures"))


def is_worse(curve: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """The median stopping rule: whether a training's best so far is below the median of the others' at that epoch.

    Source: D. Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, Sec. 3.2.

    Args:
        curve: The training's score after each epoch.
        others: Those of finished trainings; of fewer than three nothing is concluded.
    """
    bests = [max(other[: len(curve)]) for other in others if other]
    return len(bests) >= ENOUGH and max(curve, default=math.inf) < median(bests)

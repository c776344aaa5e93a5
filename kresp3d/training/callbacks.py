"""What happens at the end of a step and of an epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence

import keras
import numpy as np

from kresp3d.runs.phases import Phase, epochs_before
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError
from kresp3d.system.files import write_csv, write_text, written_aside
from kresp3d.training.averages import kept_weights
from kresp3d.training.checkpoint import Checkpoints, Progress, score_of


class NanStop(keras.callbacks.Callback):
    """Ends training with a sentence when the loss or, at the end of an epoch, a weight is no longer a finite number."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise KrespError(
                f"the loss became {loss} in step {batch + 1} of an epoch; the last finished epoch is kept. "
                "Lower training.learning_rate, or lower training.clip_norm"
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not all(np.isfinite(values).all() for values in self.model.get_weights()):
            raise KrespError(
                f"weights became infinite or NaN in the last step of epoch {epoch + 1}; the epoch before is kept. "
                "Lower training.learning_rate, or lower training.clip_norm"
            )


class LearningRate(keras.callbacks.Callback):
    """Adds the learning rate of the last step to the epoch's figures.

    Args:
        schedule: Learning rate of each step.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule) -> None:
        super().__init__()
        self.schedule = schedule

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is not None:
            # The optimiser's own value is that of the step to come.
            logs["learning_rate"] = float(self.schedule(self.model.optimizer.iterations - 1))


class EpochEnd(keras.callbacks.Callback):
    """Keeps the state to resume from, the network and the history; stops when nothing gets better.

    Args:
        run: The run's folder.
        network: The network without optimiser, which shares its weights with the model in training.
        checkpoints: Where the state goes.
        progress: How far training is.
        phases: Those after the first.
    """

    def __init__(
        self,
        run: RunFolder,
        network: keras.Model,
        checkpoints: Checkpoints,
        progress: Progress,
        phases: Sequence[Phase] = (),
    ) -> None:
        super().__init__()
        self.run = run
        self.network = network
        self.checkpoints = checkpoints
        self.progress = progress
        self.phase = len(phases) + 1
        self.before = epochs_before(phases)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._began = time.monotonic() - self.progress.seconds

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        progress = self.progress
        progress.epoch = epoch + 1
        progress.seconds = time.monotonic() - self._began
        figures = {key: float(value) for key, value in logs.items()}
        progress.history.append({"epoch": epoch + 1, "phase": self.phase, **figures})
        if "val_top1" not in figures or score_of(figures) > tuple(progress.best_score):
            progress.count_best_from_here()
        with self.run.disk_errors():
            # First the checkpoint: with it the rest can be written again.
            self.checkpoints.save(progress)
            write_outcome(self.run, self.network, self.model, progress)
        if progress.is_finished(self.run.config.training, self.before):
            self.model.stop_training = True


def write_outcome(run: RunFolder, network: keras.Model, model: keras.Model, progress: Progress) -> None:
    """Write what follows from a checkpoint: its epoch's `model.keras`, if that is to be kept, and how far training is.

    Args:
        run: The run's folder.
        network: The network without optimiser, which shares its weights with `model`.
        model: The model in training, in the state of the checkpoint.
        progress: The checkpoint's.
    """
    kept = progress.kept_epoch(run.config.training)
    noted = run.outcome if run.model_file.is_file() else None
    # One that is there stays, since what was exported of it is known by its digest.
    if progress.epoch == kept and noted != {"epochs": progress.epoch, "kept_epoch": kept}:
        with kept_weights(model), written_aside(run.model_file) as temporary:
            network.save(temporary)
    values = {
        "epochs": progress.epoch,
        "kept_epoch": kept,
        "seconds": round(progress.seconds, 1),
    }
    write_text(run.training_file, json.dumps(values) + "\n")
    write_history(run, progress)


def write_history(run: RunFolder, progress: Progress) -> None:
    """Write `history.csv` from the checkpointed rows, so that it never says more than what was finished."""
    # Rows of earlier versions of kresp3d, which had one phase, do not say so.
    rows = [{"epoch": row["epoch"], "phase": 1, **row} for row in progress.history]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    write_csv(run.history_file, columns, ([row.get(column) for column in columns] for row in rows))

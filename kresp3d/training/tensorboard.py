"""What TensorBoard shows of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kresp3d.config.schema import Config
from kresp3d.evaluation.figures import confusion_figure, encode, rgb_over_residual
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.events import EventLog, cut_back
from kresp3d.training.averages import kept_weights
from kresp3d.training.checkpoint import Progress
from kresp3d.training.explanations import ExplainedClips
from kresp3d.training.graph import network_graph
from kresp3d.training.validation import VideoScores

#: The keys that the paper varies; the HParams page shows them first.
MAIN = ("model.modality", "model.variant", "model.step", "model.attention", "model.feature_residual")
#: The keys of the configuration that are on the HParams page.
HYPERPARAMETERS = (
    *MAIN,
    "model.width",
    "model.blocks",
    "model.frames",
    "model.size",
    "model.dropout",
    "training.optimizer",
    "training.learning_rate",
    "training.weight_decay",
    "training.batch_size",
    "training.epochs",
    "training.label_smoothing",
    "training.ema",
    "training.precision",
    "data.videos",
    "seed",
)


class TensorBoardLog(keras.callbacks.Callback):
    """Writes what TensorBoard shows of a training, before the checkpoint of each epoch is written.

    When a training is resumed, what was logged of epochs after the checkpoint is dropped first: they come again.

    Args:
        run: The run's folder.
        network: The network that is trained.
        progress: How far training is.
        clips: Training clips to show, uint8 `[n, T + s, S, S, 3]`.
        scores: What validation says of each video; `None` without validation.
        explained: Clips on which the network is explained now and then; `None` for none.
        speed: Gives the clips a second of the epoch that ends.
    """

    def __init__(
        self,
        run: RunFolder,
        network: keras.Model,
        progress: Progress,
        clips: npt.NDArray[np.uint8],
        scores: VideoScores | None,
        explained: ExplainedClips | None,
        speed: Callable[[], float],
    ) -> None:
        super().__init__()
        self.run = run
        self.network = network
        self.progress = progress
        self.clips = clips
        self.scores = scores
        self.explained = explained
        self.speed = speed
        self._log: EventLog | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        done = self.progress.epoch
        with self.run.disk_errors():
            # Of a training that begins anew, what was written before its first epoch goes too.
            cut_back(self.run.logs, done if done else -1)
            self._settings()
            self._log = EventLog(self.run.logs)
            if not done:
                self._open(self._log)
            self._log.flush()

    def _settings(self) -> None:
        """Write what the HParams page shows, which may change when a training goes on."""
        split = self.run.config.evaluation.split
        metrics = {
            "top1/validation": "validation clip top-1",
            f"clip_top1/{split}": f"{split} clip top-1",
            f"video_top1/{split}": f"{split} video top-1",
        }
        with EventLog(self.run.logs, suffix="settings") as log:
            log.table(HYPERPARAMETERS, metrics, MAIN)
            log.hyperparameters(str(self.run.path), hyperparameters(self.run.config))

    def _open(self, log: EventLog) -> None:
        log.graph(network_graph(self.network))
        for index, clip in enumerate(self.clips):
            sheet = rgb_over_residual(clip, self.run.config.model.step)
            log.picture(f"clips/{index}", tf.io.encode_png(sheet).numpy(), 0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert self._log is not None
        log, step = self._log, epoch + 1
        # Not below, where a failure is one of the disk: several hosts add it up.
        confusion = None if self.scores is None else self.scores.confusion()
        with self.run.disk_errors():
            for key, value in (logs or {}).items():
                side, name = ("validation", key.removeprefix("val_")) if key.startswith("val_") else ("train", key)
                log.scalar("learning_rate" if key == "learning_rate" else f"{name}/{side}", value, step)
            log.scalar("clips_per_second", self.speed(), step)
            if confusion is not None:
                self._validation(log, confusion, step)
            if self.explained is not None and self._is_due(step):
                with kept_weights(self.model):
                    self.explained.log(log, self.network, step)
            log.flush()

    def _validation(self, log: EventLog, confusion: npt.NDArray[np.int64], step: int) -> None:
        log.scalar("video_top1/validation", confusion.trace() / confusion.sum(), step)
        for name, row, right in zip(self.run.classes, confusion, confusion.diagonal(), strict=True):
            if row.any():
                log.scalar(f"top1_by_class_validation/{name}", right / row.sum(), step)
        if self._is_due(step):
            log.picture("confusion/validation", encode(confusion_figure(confusion, self.run.classes)), step)

    def _is_due(self, epoch: int) -> bool:
        training = self.run.config.training
        every = training.tensorboard_every or 0
        return every > 0 and (epoch % every == 0 or epoch == training.epochs)

    def close(self) -> None:
        """Bring everything to the disk, however training ended."""
        if self._log is not None:
            with self.run.disk_errors():
                self._log.close()


def hyperparameters(config: Config) -> dict[str, Any]:
    """The settings of a run that the HParams page shows; those that are null are left out."""
    values: dict[str, Any] = {}
    for key in HYPERPARAMETERS:
        value: Any = config.to_values()
        for part in key.split("."):
            value = value[part]
        if value is not None:
            values[key] = value
    return values

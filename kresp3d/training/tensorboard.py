"""What TensorBoard shows of a training."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from kresp3d.evaluation.figures import rgb_over_residual
from kresp3d.run_folder import RunFolder


class TensorBoardLog(keras.callbacks.Callback):
    """Scalars of every epoch, and a few training clips as RGB over residual frames.

    Args:
        run: The run's folder.
        clips: uint8 `[n, T + s, S, S, 3]`.
        step: Step size of the residual frames.
    """

    def __init__(self, run: RunFolder, clips: np.ndarray, step: int) -> None:
        super().__init__()
        self.run = run
        self.clips = clips
        self.step = step

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._writer = tf.summary.create_file_writer(str(self.run.logs))
        with self._writer.as_default():
            for index, clip in enumerate(self.clips):
                tf.summary.image(f"clips/{index}", rgb_over_residual(clip, self.step)[None], step=0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        with self.run.disk_errors(), self._writer.as_default():
            for key, value in (logs or {}).items():
                side, name = ("validation", key.removeprefix("val_")) if key.startswith("val_") else ("train", key)
                tf.summary.scalar("learning_rate" if key == "learning_rate" else f"{name}/{side}", value, epoch + 1)
            self._writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._writer.close()

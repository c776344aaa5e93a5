"""Recording what TensorFlow does in a few steps, for TensorBoard's Profile page."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf


class StepProfiler(keras.callbacks.Callback):
    """Profiles steps of the training, counted from 0 over all epochs.

    Args:
        folder: Where `plugins/profile/TIME/` goes.
        steps: The first step that is profiled, and the first one after it that is not.
        done: Steps done already, of a training that is resumed.
    """

    def __init__(self, folder: Path, steps: tuple[int, int], done: int = 0) -> None:
        super().__init__()
        self.folder = folder
        self.steps = steps
        self._next = done
        self._is_on = False
        self._step: tf.profiler.experimental.Trace | None = None

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        first, end = self.steps
        # A training that was resumed between the two profiles the rest.
        if first <= self._next < end:
            if not self._is_on:
                tf.profiler.experimental.start(str(self.folder))
                self._is_on = True
            # Marks the step, which the Profile page puts its figures on.
            self._step = tf.profiler.experimental.Trace("train", step_num=self._next, _r=1)
            self._step.__enter__()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._next += 1
        self._end_step()
        if self._next >= self.steps[1]:
            self.stop()

    def _end_step(self) -> None:
        if self._step is not None:
            self._step.__exit__(None, None, None)
            self._step = None

    def stop(self) -> None:
        """Write the profile, if one is being recorded."""
        self._end_step()
        if self._is_on:
            self._is_on = False
            tf.profiler.experimental.stop()

"""What a person sees while a network trains."""

from __future__ import annotations

import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kresp3d.system.text import clock

#: Seconds without a sign after which a line says how far an epoch is, where the output is no terminal.
INTERVAL = 30.0

_HEADER = "  epoch     loss  top-1  val loss  val top-1    rate  clips/s     time     left"


class TrainingDisplay(keras.callbacks.Callback):
    """A row for each epoch; within one a bar on a terminal, and now and then a line elsewhere.

    Args:
        epochs: Epochs of the whole training.
        clips_per_epoch: Training clips in an epoch.
        console: Where to print.
    """

    def __init__(self, epochs: int, clips_per_epoch: int, console: Console) -> None:
        super().__init__()
        self.epochs = epochs
        self.clips_per_epoch = clips_per_epoch
        self.console = console
        self._bar: Progress | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self.console.print(_HEADER, style="bold", highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._done = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch_began = time.monotonic()
        self._last_step = self._last_sign = self._epoch_began
        if self.console.is_terminal:
            columns = (
                TextColumn(f"{epoch + 1:>4}/{self.epochs:<4}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("steps, loss {task.fields[loss]:.3f}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._task = self._bar.add_task("", total=self.params["steps"], loss=float("nan"))
            self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._last_step = time.monotonic()
        loss = (logs or {}).get("loss", float("nan"))
        if self._bar is not None:
            self._bar.update(self._task, completed=batch + 1, loss=loss)
        elif self._last_step - self._last_sign > INTERVAL:
            self._last_sign = self._last_step
            self.console.print(f"        step {batch + 1} of {self.params['steps']}, loss {loss:.3f}", highlight=False)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.close()
        now = time.monotonic()
        self._done += 1
        left = (now - self._began) / self._done * (self.epochs - epoch - 1)
        row = epoch_row(epoch + 1, self.epochs, logs or {}, self.speed, now - self._began, left)
        self.console.print(row, highlight=False, soft_wrap=True)

    @property
    def speed(self) -> float:
        """Clips a second in the last epoch, from its begin to the end of its last step, before validation."""
        return self.clips_per_epoch / (self._last_step - self._epoch_began)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self.close()


def epoch_row(epoch: int, epochs: int, logs: dict[str, Any], speed: float, seconds: float, left: float) -> str:
    """One row of the table; a dash where there is no validation."""

    def number(key: str, width: int, digits: int = 3) -> str:
        return f"{logs[key]:{width}.{digits}f}" if key in logs else "-".rjust(width)

    return (
        f"{epoch:>4}/{epochs:<4}{number('loss', 7)}{number('top1', 7)}{number('val_loss', 10)}{number('val_top1', 11)}"
        f"{number('learning_rate', 8, 4)}{speed:9.1f}{clock(seconds):>9}{clock(left):>9}"
    )

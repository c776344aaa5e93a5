"""Trainings in processes of their own, as a sweep and a reproduction have many of.

A process that is run out of memory by the system, or a crash in a library, then ends one training and not all of them,
and what a training leaves in memory goes with it. Beside the run folder, which is one like any other, there are

seed-0.yaml    its configuration
seed-0.log     what it printed
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from kresp3d.config.schema import Config
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.files import remove, write_text

#: Seconds between two looks at a training.
POLL = 0.5
#: Seconds that a training has to end after Ctrl-C.
GRACE = 20.0


@dataclass(frozen=True)
class Training:
    """A training on disk. `path` is its run folder."""

    path: Path

    @property
    def run(self) -> RunFolder:
        """Its run folder, read anew."""
        return RunFolder(self.path)

    @property
    def config_file(self) -> Path:
        """The configuration that its process is given."""
        return self.path.with_name(f"{self.path.name}.yaml")

    @property
    def log(self) -> Path:
        """What its process printed."""
        return self.path.with_name(f"{self.path.name}.log")

    @property
    def log_size(self) -> int:
        """Bytes that its processes have printed so far."""
        return self.log.stat().st_size if self.log.exists() else 0

    def write_config(self, config: Config) -> None:
        """Write what its process is to train."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.config_file, config.to_yaml())

    def command(self, *more: str) -> list[str]:
        """The words after `kresp3d` that begin the training, or go on with it."""
        return ["train", "--config", str(self.config_file), "--out", str(self.path), "--resume", *more]

    def history(self) -> list[dict[str, str]]:
        """The rows of `history.csv`, one for each finished epoch."""
        try:
            with self.run.history_file.open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file))
        except FileNotFoundError:
            return []

    def curve(self) -> list[float]:
        """Validation clip top-1 of each finished epoch; empty where there are no validation videos."""
        return [float(row["val_top1"]) for row in self.history() if "val_top1" in row]

    @property
    def epoch(self) -> int:
        """The finished epochs."""
        return len(self.history())

    def is_done(self, epochs: int) -> bool:
        """Whether it was trained for so many epochs, or stopped by itself, and then measured."""
        return self._metrics.is_file() and (self.epoch >= epochs or self.run.config.training.early_stop is not None)

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.json"

    def metrics(self) -> dict[str, Any]:
        """What was measured; see `Evaluation.to_json`."""
        values: dict[str, Any] = json.loads(self._metrics.read_text(encoding="utf-8"))
        return values

    @property
    def seconds(self) -> float:
        """How long its finished epochs took, over all its processes."""
        try:
            return float(json.loads(self.run.training_file.read_text(encoding="utf-8"))["seconds"])
        except FileNotFoundError:
            return 0.0

    def remove_checkpoints(self) -> None:
        """Delete what is three times as large as the network, and of no more use when the training is done."""
        with suppress(OSError):
            remove(self.run.checkpoints)

    def reason(self, code: int, begun: int = 0) -> str:
        """Why it failed, from what it said last.

        Args:
            code: How its process ended, as `Popen.returncode` has it.
            begun: Where in the log this process began to write; what stands before is of earlier ones.
        """
        if code == -signal.SIGKILL:
            return "killed by the system, most likely since memory ran out"
        if code < 0:
            return f"ended by {signal.Signals(-code).name}; see {self.log}"
        lines = self.log.read_bytes()[begun:].decode(errors="replace").splitlines()
        errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
        return errors[-1] if errors else f"ended with code {code}; see {self.log}"


def start(arguments: Sequence[str], log: IO[bytes], cores: Collection[int] | None = None) -> subprocess.Popen[bytes]:
    """Start a training process, which ends when this one does.

    Args:
        arguments: The words after `kresp3d`.
        log: Where its output goes.
        cores: The cores it may use; all of this process's by default. TensorFlow makes as many threads as there are.
    """
    command = [sys.executable, "-m", "kresp3d.cli.child", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
    if cores is not None:
        # Unless it has ended at once, which the caller will see. Python has hardly started by now, and all its threads
        # are made later and by this one.
        with suppress(ProcessLookupError):
            os.sched_setaffinity(process.pid, cores)
    return process


def end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Interrupt the training processes that still run, all at once, and wait for them."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def training_process(arguments: Sequence[str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A training process; where the block ends before it does, it is interrupted and waited for."""
    with start(arguments, log) as process:
        try:
            yield process
        finally:
            end([process])

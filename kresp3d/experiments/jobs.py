"""Running the trainings of an experiment, one or several at a time."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Generic, Literal, TypeVar

from kresp3d.system.errors import UsageError
from kresp3d.system.files import log_file
from kresp3d.system.machine import usable_cores
from kresp3d.system.storage import RemotePath
from kresp3d.training import process as processes
from kresp3d.training.process import Training

#: Seconds between two looks at a history in an object store, which are requests over the network.
REMOTE_PAUSE = 10.0
Key = TypeVar("Key", bound=Hashable)
Status = Literal["done", "failed", "running", "unfinished", "waiting"]
Callback = Callable[[], None]


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class _Running(Generic[Key]):
    key: Key
    training: Training
    process: subprocess.Popen[bytes]
    log_begun: int
    closing: ExitStack


@dataclass
class Jobs(Generic[Key]):
    """Trainings in processes of their own. Nothing but the run folders says what is done.

    Args:
        training: The training of a key, begun or not.
        begin: Makes ready what the process of a training needs, its configuration at the least.
        epochs: With how many epochs a training is finished.
        jobs: Trainings at a time; with more than one, each has its share of the cores.

    Attributes:
        failures: Why the last try of a training failed, by key.
    """

    training: Callable[[Key], Training]
    begin: Callable[[Key, Training], None]
    epochs: int
    jobs: int = 1
    failures: dict[Key, str] = field(default_factory=dict, init=False)
    _running: dict[int, _Running[Key]] = field(default_factory=dict, init=False)

    def status(self, key: Key) -> Status:
        """How a training stands."""
        is_running = any(running.key == key for running in self._running.values())
        return status_of(self.training(key), self.epochs, is_running=is_running, has_failed=key in self.failures)

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """The processes that run now."""
        return [running.process for running in self._running.values()]

    def run(self, keys: Iterable[Key], *, on_epoch: Callback = nothing, on_change: Callback = nothing) -> None:
        """Train in turn until all is done or has failed. Where this is interrupted, the trainings are too.

        Args:
            keys: The trainings; those that are done already are left alone.
            on_epoch: Called when a training has finished an epoch.
            on_change: Called when a training has begun or ended.
        """
        waiting = deque(key for key in keys if not self._is_done(self.training(key)))
        # No core waits for a training that is not there.
        jobs = max(1, min(self.jobs, len(waiting)))
        shares = share_cores(usable_cores(), jobs)
        shown: dict[int, int] = {}
        looked = 0.0
        try:
            while waiting or self._running:
                for slot in range(jobs):
                    if slot not in self._running and waiting:
                        self._running[slot] = self._start(waiting.popleft(), shares[slot] if jobs > 1 else None)
                        on_change()
                time.sleep(processes.POLL)
                for slot, running in list(self._running.items()):
                    if running.process.poll() is not None:
                        del self._running[slot]
                        self._finish(running)
                        on_change()
                if time.monotonic() < looked + self._pause:
                    continue
                looked = time.monotonic()
                epochs = {slot: running.training.epoch for slot, running in self._running.items()}
                if epochs != shown:
                    shown = epochs
                    on_epoch()
        finally:
            processes.end(self.processes)
            for running in self._running.values():
                running.closing.close()
            self._running.clear()

    @property
    def _pause(self) -> float:
        """Seconds between two looks at how far the trainings are."""
        is_far = any(isinstance(running.training.path, RemotePath) for running in self._running.values())
        return REMOTE_PAUSE if is_far else 0.0

    def _is_done(self, training: Training) -> bool:
        is_done = training.is_done(self.epochs)
        if is_done:
            # What a kill after the last epoch left.
            training.remove_checkpoints()
        return is_done

    def _start(self, key: Key, cores: frozenset[int] | None) -> _Running[Key]:
        training = self.training(key)
        self.begin(key, training)
        closing = ExitStack()
        log_begun = training.log_size
        log = closing.enter_context(log_file(training.log))
        process = closing.enter_context(processes.start(training.command(), log, cores))
        return _Running(key, training, process, log_begun, closing)

    def _finish(self, running: _Running[Key]) -> None:
        running.closing.close()
        code = running.process.returncode
        if not self._is_done(running.training):
            self.failures[running.key] = (
                f"ended without being measured; see {running.training.log}"
                if code == 0
                else running.training.reason(code, running.log_begun)
            )


def status_of(training: Training, epochs: int, *, is_running: bool = False, has_failed: bool = False) -> Status:
    """Say how a training stands, by its run folder first.

    Args:
        training: The training.
        epochs: With how many epochs it is finished.
        is_running: Whether a process runs it.
        has_failed: Whether its last try failed.
    """
    if training.is_done(epochs):
        return "done"
    if has_failed:
        return "failed"
    return "running" if is_running else "unfinished" if training.path.exists() else "waiting"


def share_cores(cores: Sequence[int], jobs: int) -> list[frozenset[int]]:
    """Divide cores among jobs as evenly as can be, neighbours together; more jobs than cores take turns.

    Args:
        cores: The numbers of the cores, at least one.
        jobs: The number of jobs.
    """
    if jobs >= len(cores):
        return [frozenset({cores[job % len(cores)]}) for job in range(jobs)]
    bounds = [job * len(cores) // jobs for job in range(jobs + 1)]
    return [frozenset(cores[low:high]) for low, high in pairwise(bounds)]


def check_gpus(jobs: int, gpus: Sequence[str]) -> None:
    """Make sure that trainings do not fight for a GPU.

    Args:
        jobs: Trainings at a time.
        gpus: The names of the GPUs.

    Raises:
        UsageError: If they would.
    """
    if jobs > 1 and gpus and os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH") != "true":
        raise UsageError(
            f"--jobs {jobs}: the first training would take all memory of the GPU ({gpus[0]}); use --jobs 1, "
            "or let TensorFlow take what it needs by TF_FORCE_GPU_ALLOW_GROWTH=true in the environment"
        )


def continue_command(command: str) -> str:
    """The command line that goes on where another one ended."""
    words = [word for word in shlex.split(command) if word not in ("--overwrite", "--resume")]
    return shlex.join([*words, "--resume"])

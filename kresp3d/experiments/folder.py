"""The folder of an experiment: when it may begin there, go on, or begin anew."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from kresp3d.config.schema import Config, changed_keys, load_config
from kresp3d.runs.phases import UNTOLD, shown
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import locked, names_in, remove, write_text


@dataclass(frozen=True)
class ExperimentFolder(ABC):
    """The folder of many trainings that share a configuration. `path` is the folder.

    Attributes:
        free: Keys that may change when it goes on, besides those that change nothing about a training.
        settles: Whether `settle` is called when the videos are known; else each training settles keys for itself.
        noun: What it holds, such as `a reproduction`.
        doing: What a process does in it, such as `reproducing`.
        config_name: The file of the configuration. No `config.yaml`: that would make the folder a run, into which
            `kresp3d train --resume` goes.
    """

    path: Path
    settles: ClassVar[bool] = False
    free: ClassVar[tuple[str, ...]] = ("tune",)
    noun: ClassVar[str]
    doing: ClassVar[str]
    config_name: ClassVar[str]

    @property
    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """The names of all that it may hold, but that of the configuration."""

    @property
    @abstractmethod
    def is_begun(self) -> bool:
        """Whether there is a training in it."""

    @property
    def config_file(self) -> Path:
        """The configuration that all trainings share."""
        return self.path / self.config_name

    @property
    def report_file(self) -> Path:
        """The report."""
        return self.path / "report.md"

    @property
    def _own(self) -> tuple[str, ...]:
        return (self.config_name, *self.parts)

    def check(self, config: Config, *, resume: bool = False, overwrite: bool = False) -> None:
        """Make sure that an experiment may begin here, or go on. Nothing is written.

        Raises:
            KrespError: If the folder holds something else, or an experiment and nothing says what to do with it.
            UsageError: If it is to go on with another configuration.
        """
        names, foreign = names_in(self.path, self._own, self.noun)
        # Without a configuration even a file of such a name is somebody else's.
        if foreign or (not self.config_file.is_file() and set(names) & set(self._own)):
            what = (foreign or sorted(set(names) & set(self._own)))[0]
            raise KrespError(f"{self.path} holds something that is no part of {self.noun} ({what}); give another --out")
        if self.config_file.is_file() and resume:
            self._check_config(config)
        elif self.is_begun and not overwrite:
            raise KrespError(
                f"{self.path} holds {self.noun} already; go on with it by --resume, begin anew by --overwrite, "
                "or give another folder by --out"
            )

    def begin(self, config: Config, *, resume: bool = False, overwrite: bool = False) -> None:
        """Make the folder ready; one that goes on stays as it is. For whoever holds its lock.

        Raises:
            KrespError: As `check`.
            UsageError: As `check`.
        """
        self.check(config, resume=resume, overwrite=overwrite)
        if self.config_file.is_file() and resume:
            return
        # The configuration goes last: with it the rest is known for an experiment's, should this be interrupted.
        for name in reversed(self._own):
            remove(self.path / name)
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config_file, config.to_yaml())

    def _check_config(self, config: Config) -> None:
        # What was settled when the experiment began stays so.
        settled = config.auto if self.settles else ()
        changed = changed_keys(load_config(self.config_file), config, besides=(*self.free, *UNTOLD, *settled))
        if changed:
            named = [f"{key}={shown(mine)} (now {shown(yours)})" for key, mine, yours in changed[:3]]
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise UsageError(
                f"{self.path} was begun with {', '.join(named)}{more}; resume with the same configuration, "
                "or give another --out"
            )

    def settle(self, config: Config, notes: Sequence[str]) -> None:
        """Write a configuration of which nothing is left at `auto`, with how that came about."""
        write_text(self.config_file, config.to_yaml(notes))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from an experiment in this folder, which is made where it is missing."""
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path, f"{self.doing} into {self.path}; wait for it, or give another --out"):
            yield

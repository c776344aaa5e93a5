"""A reproduction on disk.

runs/NAME/
  reproduction.yaml  the configuration that all trainings share
  ROW/seed-K/        a run folder for each training
  results.csv, tables.csv, claims.csv, report.md, figures/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kresp3d.config import Config, changed_keys, load_config
from kresp3d.errors import KrespError, UsageError
from kresp3d.files import locked, names_in, remove, write_text
from kresp3d.reproduction.tables import ROWS, TABLES, rows_of
from kresp3d.training.process import Training

_RESULTS = ("results.csv", "tables.csv", "claims.csv", "report.md", "figures")
# `config.yaml` would make the folder a run, into which `kresp3d train --resume` goes.
_CONFIG = "reproduction.yaml"
_OWN = (_CONFIG, *_RESULTS, *ROWS)


@dataclass(frozen=True)
class ReproductionFolder:
    """A reproduction on disk. `path` is its folder."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The configuration that all trainings share."""
        return self.path / _CONFIG

    @property
    def report_file(self) -> Path:
        """The report."""
        return self.path / "report.md"

    def training(self, row: str, seed: int) -> Training:
        """The training of a row with a seed, begun or not."""
        return Training(self.path / row / f"seed-{seed}")

    def begun(self) -> dict[str, set[int]]:
        """Row -> the seeds with which its training was begun."""
        found: dict[str, set[int]] = {}
        for row in ROWS:
            numbers = {path.name.removeprefix("seed-") for path in (self.path / row).glob("seed-*") if path.is_dir()}
            if numbers:
                found[row] = {int(number) for number in numbers if number.isdigit()}
        return found

    def tables(self, asked: Sequence[int]) -> tuple[int, ...]:
        """The tables that are asked for or were begun earlier: those with a row of their own that has a training."""
        begun = self.begun().keys()
        return tuple(
            table.number
            for table in TABLES
            if table.number in asked
            or begun & set(table.rows) - set(rows_of(other.number for other in TABLES if other is not table))
        )

    def check(self, config: Config, *, resume: bool = False, overwrite: bool = False) -> None:
        """Make sure that a reproduction may begin here, or go on. Nothing is written.

        Raises:
            KrespError: If the folder holds something else, or a reproduction and nothing says what to do with it.
            UsageError: If it is to go on with another configuration; the number of seeds and the tables may change.
        """
        names, foreign = names_in(self.path, _OWN, "a reproduction")
        # Without a configuration even a file of such a name is somebody else's.
        if foreign or (not self.config_file.is_file() and set(names) & set(_OWN)):
            what = (foreign or sorted(set(names) & set(_OWN)))[0]
            raise KrespError(
                f"{self.path} holds something that is no part of a reproduction ({what}); give another --out"
            )
        if self.config_file.is_file() and resume:
            self._check_config(config)
        elif self.begun() and not overwrite:
            raise KrespError(
                f"{self.path} holds a reproduction already; go on with it by --resume, begin anew by --overwrite, "
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
        # The configuration goes last: with it the rest is known for a reproduction's, should this be interrupted.
        for name in reversed(_OWN):
            remove(self.path / name)
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config_file, config.to_yaml())

    def _check_config(self, config: Config) -> None:
        changed = changed_keys(load_config(self.config_file), config, besides=("tune",))
        if changed:
            shown = [f"{key}={mine} (now {yours})" for key, mine, yours in changed[:3]]
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise UsageError(
                f"{self.path} was begun with {', '.join(shown)}{more}; resume with the same configuration, "
                "or give another --out"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from a reproduction into this folder, which is made where it is missing."""
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path, f"reproducing into {self.path}; wait for it, or give another --out"):
            yield

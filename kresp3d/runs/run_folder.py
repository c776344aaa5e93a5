"""The folder of a run: what training leaves behind and every later command reads.

runs/NAME/
  config.yaml        the resolved configuration
  environment.json   versions, machine, records and their fingerprint
  catalog.csv        name, label, group and split of every video, as this run used them
  classes.txt        one name a line, in the order of the network's outputs
  start.keras        the network that training began with, where it was not a new one
  checkpoints/       the last finished epoch, for --resume
  logs/              TensorBoard
  history.csv        one row an epoch
  phases.json        where training went on with other settings: the first epoch of each such phase, and what changed
  model.keras        the network of the best epoch by validation top-1, or of the last (`training.keep`)
  metrics.json, report.md, figures/   the evaluation: what was measured, and whether it is any good
  per_class.csv, per_group.csv, predictions.csv   the same by class, by person or recording, and by video
  compression.json   what the network has become smaller by, of `kresp3d compress`
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from kresp3d.config.schema import Config, changed_keys, load_config, override_config, value_of
from kresp3d.records.index import Record, Records, read_index
from kresp3d.runs.network_info import OTHER_WIRING, VERSION
from kresp3d.runs.phases import Continuation, Phase, read_phases, refused_keys, shown, write_phases
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import LOCK, PART, locked, remove, write_csv, write_text
from kresp3d.system.machine import cpu_flags, read_text
from kresp3d.system.storage import location, reason
from kresp3d.system.version import __version__

_COLUMNS = ("name", "label", "group", "split")
#: Begins the sentence of a training whose folder cannot be written into.
CANNOT_WRITE = "cannot write into"
#: What to do, for programs and for the command line.
RESUME = "resume=True (--resume)"
OVERWRITE = "overwrite=True (--overwrite)"
OTHER_FOLDER = "give another folder by out= (--out)"
_PREPARE = "prepare the same videos again by `kresp3d data prepare`"
_OWN = (
    *("environment.json", "catalog.csv", "classes.txt", "checkpoints", "logs"),
    *("history.csv", "training.json", "phases.json"),
    # The last to be deleted; see `RunFolder._clear`.
    "config.yaml",
)
_REPORT = ("metrics.json", "report.md", "predictions.csv", "per_class.csv", "per_group.csv", "figures")
_RESULTS = ("model.keras", "start.keras", "compression.json", *_REPORT)
#: Folders of evaluations with other settings than the run's own begin so.
_EVALUATION = "evaluation-"


def command_line() -> str:
    """The command that this process runs, of kresp3d or of a program that uses it, to be pasted into a shell."""
    program = Path(sys.argv[0])
    is_ours = program.name == "kresp3d" or Path(__file__).parents[1] in program.resolve().parents
    return shlex.join(["kresp3d", *sys.argv[1:]] if is_ours else ["python", *sys.argv])


@dataclass(frozen=True)
class RunFolder:
    """A run on disk. `path` is its folder."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: Config, notes: Sequence[str] = (), *, overwrite: bool = False) -> RunFolder:
        """Start a run in a folder that is new or empty, or holds a run that never finished an epoch.

        Args:
            path: The folder.
            config: How it is trained.
            notes: How its keys came about; written with them.
            overwrite: Whether a finished run may be replaced.

        Raises:
            KrespError: If the folder holds something else, and `overwrite` is not given or it is not a run.
        """
        run = cls(path)
        run.check_free(overwrite=overwrite)
        with run._writable():
            run._clear()
            path.mkdir(parents=True, exist_ok=True)
            write_text(run.config_file, settle_precision(config).to_yaml(notes))
        return run

    def settled(self, config: Config, notes: Sequence[str]) -> RunFolder:
        """The same run with a configuration of which nothing is left at `auto`, written with how that came about."""
        write_text(self.config_file, config.to_yaml(notes))
        return RunFolder(self.path)

    def check_free(self, *, overwrite: bool) -> None:
        """Make sure that a run may begin here; changes nothing.

        Raises:
            KrespError: If it may not; see `create`.
        """
        with self._writable():
            self._check_free(overwrite)

    def _check_free(self, overwrite: bool) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise KrespError(f"{self.path} is a file, and a run needs a folder; {OTHER_FOLDER}")
        # Without a configuration even a file of a run's name is somebody else's.
        own = (LOCK, *_OWN, *_RESULTS) if self.config_file.exists() else (LOCK,)
        names = sorted(p.name for p in self.path.iterdir())
        foreign = [name for name in names if name not in own and not name.startswith((PART, _EVALUATION))]
        if foreign:
            raise KrespError(f"{self.path} holds something that is no part of a run ({foreign[0]}); {OTHER_FOLDER}")
        if not overwrite and (self.checkpoints.exists() or self.model_file.exists()):
            raise KrespError(
                f"{self.path} holds a run already; go on with it by {RESUME}, begin anew by {OVERWRITE}, or "
                f"{OTHER_FOLDER}"
            )

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open a run that exists.

        Raises:
            KrespError: If the folder is no run.
        """
        run = cls(location(path))
        if not run.config_file.is_file():
            raise KrespError(f"{path} is no run folder (config.yaml is missing); expected one made by `kresp3d train`")
        return run

    def check_config(self, config: Config) -> Config:
        """Make sure that a run can go on with a configuration, perhaps in a new phase; see `kresp3d.runs.phases`.

        Returns:
            The configuration, with the run's own values in place of `auto`.

        Raises:
            UsageError: If `config` differs from the run's own in a key that cannot change.
        """
        # A run goes on in the precision that it began with, on whatever machine.
        config = _with_precision(config, self.config.training.precision)
        # What was settled when the run began stays so.
        settled = {key: value_of(self.config, key) for key in config.auto}
        config = override_config(config, settled, str(self.config_file))
        changed = refused_keys(self.config, config)
        if changed:
            key, mine, other = changed[0]
            raise UsageError(
                f"{self.path} was begun with {key}={shown(mine)}, received {shown(other)}"
                + (f" (and {len(changed) - 1} other keys differ)" if len(changed) > 1 else "")
                + f"; resume with the same configuration, or {OTHER_FOLDER}"
            )
        return config

    def with_config(self, config: Config) -> RunFolder:
        """This folder with another configuration in place of the one in its file, which stays as it is."""
        run = RunFolder(self.path)
        # Where `cached_property` keeps it.
        run.__dict__["config"] = config
        return run

    def go_on(self, config: Config, how: Continuation) -> None:
        """Write the configuration and the phases that a training goes on with.

        A phase is written before the configuration that it leads to, and deleted after it. Should this be interrupted,
        the last one does not fit the configuration then, and `phases` leaves it out.
        """
        written = self.config
        if self.phases != how.phases:
            if len(self.phases) > len(how.done):
                written = how.origin
                self._write_config(written)
                write_phases(self.phases_file, how.done)
            write_phases(self.phases_file, how.phases)
        if self.config.evaluation != config.evaluation:
            remove(self.metrics_file)
        if written != config:
            self._write_config(config)

    def _write_config(self, config: Config) -> None:
        """Replace the configuration; what its comments say of settled keys stays, where it is still true."""
        changed = {key for key, _, _ in changed_keys(self.config, config)}
        lines = self.config_file.read_text(encoding="utf-8").splitlines(keepends=True)
        notes = [line for line in lines if line.startswith("# ") and line[2:].split(" ")[0] not in changed]
        write_text(self.config_file, "".join(notes) + config.to_yaml())

    def _clear(self) -> None:
        # The configuration goes last: with it the rest is known for a run's, should this be interrupted.
        others = (*self.path.glob(f"{PART}*"), *self.path.glob(f"{_EVALUATION}*"))
        for target in (*others, *(self.path / name for name in (*_RESULTS, *_OWN))):
            remove(target)

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def model_file(self) -> Path:
        """The trained network."""
        return self.path / "model.keras"

    @property
    def start_file(self) -> Path:
        """The network that training begins with, where that is not a new one."""
        return self.path / "start.keras"

    @property
    def compression_file(self) -> Path:
        """What the network has become smaller by, where it was compressed."""
        return self.path / "compression.json"

    @property
    def history_file(self) -> Path:
        """One row for each epoch."""
        return self.path / "history.csv"

    @property
    def training_file(self) -> Path:
        """How many epochs were trained, which one is kept, and the seconds that they took."""
        return self.path / "training.json"

    @property
    def outcome(self) -> dict[str, int] | None:
        """What `training.json` holds of the last finished epoch; `None` where there is none."""
        try:
            values = json.loads(self.training_file.read_text(encoding="utf-8"))
            return {key: int(values[key]) for key in ("epochs", "kept_epoch")}
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return None

    @property
    def metrics_file(self) -> Path:
        """What was measured; missing while the network has been trained further than it was measured."""
        return self.path / "metrics.json"

    @property
    def phases_file(self) -> Path:
        """The phases after the first, where there are any."""
        return self.path / "phases.json"

    @property
    def checkpoints(self) -> Path:
        """The state to resume from."""
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "logs"

    @cached_property
    def config(self) -> Config:
        """The configuration of this run."""
        return load_config(self.config_file)

    @cached_property
    def phases(self) -> list[Phase]:
        """The phases of the training after the first."""
        return read_phases(self.phases_file, load_config(self.config_file))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order of the network's outputs."""
        try:
            return tuple((self.path / "classes.txt").read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            raise KrespError(f"{self.path} has no classes.txt: its training has not begun") from None
        except UnicodeDecodeError:
            raise KrespError(f"{self.path}/classes.txt is damaged; train again") from None

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What `environment.json` holds."""
        try:
            values: dict[str, Any] = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
            whole = isinstance(values["records"], str) and isinstance(values["packages"], dict)
        # Of what is no JSON, and of what is another one.
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            whole = False
        if not whole:
            raise KrespError(f"{self.path}/environment.json is missing or damaged; train again")
        return values

    def write_data(self, records: Records) -> None:
        """Note the classes, the videos with their splits, and the machine."""
        rows = ((v.name, v.label, v.group or "", v.split) for v in records.videos)
        write_csv(self.path / "catalog.csv", _COLUMNS, rows)
        write_text(self.path / "classes.txt", "".join(f"{name}\n" for name in records.classes))
        data = {"records": str(records.folder.resolve()), "fingerprint": records.index.get("fingerprint")}
        write_text(self.path / "environment.json", json.dumps({**_environment(), **data}, indent=2) + "\n")

    def write_data_of(self, source: RunFolder) -> None:
        """Note the videos, splits and classes of another run for this one's, and the machine."""
        for name in ("catalog.csv", "classes.txt"):
            write_text(self.path / name, (source.path / name).read_text(encoding="utf-8"))
        kept = {key: source.environment.get(key) for key in ("records", "fingerprint")}
        values = {**_environment(), **kept, "source": str(source.path.resolve())}
        write_text(self.path / "environment.json", json.dumps(values, indent=2) + "\n")

    def check_wiring(self) -> None:
        """Make sure that what was trained so far is a network of today's wiring.

        Raises:
            KrespError: If it is not; its weights would have the right shapes.
        """
        if self.environment.get("network_format") != VERSION:
            raise KrespError(f"{self.path} {OTHER_WIRING}; train from scratch by {OVERWRITE}")

    @property
    def has_data(self) -> bool:
        """Whether `write_data` or `write_data_of` was done."""
        return (self.path / "environment.json").is_file()

    @property
    def splits(self) -> set[str]:
        """The splits that this run has videos of."""
        return {row["split"] for row in self._catalog()}

    def _catalog(self) -> list[dict[str, str]]:
        try:
            with (self.path / "catalog.csv").open(encoding="utf-8", newline="") as file:
                columns, *rows = csv.reader(file)
            if tuple(columns) != _COLUMNS:
                raise ValueError
            return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        except (FileNotFoundError, ValueError, csv.Error):
            raise KrespError(f"{self.path}/catalog.csv is missing or damaged; train again") from None

    def videos(self) -> dict[str, str]:
        """The name of each video of this run -> its split."""
        return {row["name"]: row["split"] for row in self._catalog()}

    def groups(self) -> dict[str, str | None]:
        """The name of each video of this run -> its group."""
        return {row["name"]: row["group"] or None for row in self._catalog()}

    def classes_of_videos(self) -> dict[str, str]:
        """The name of each video of this run -> its class when the training began."""
        return {row["name"]: row["label"] for row in self._catalog()}

    def labels(self, split: str) -> list[str]:
        """The class of each video of a split, as this run split them, whether or not its records are there."""
        return [row["label"] for row in self._catalog() if row["split"] == split]

    def records(self, split: str) -> list[Record]:
        """The stored videos of a split, as this run split them, whatever the records' own table says now.

        Raises:
            KrespError: If the records are gone or lack a video of the split, or the split is empty.
        """
        stored = {video.name: video for video in read_index(self.records_folder).videos}
        names = [row["name"] for row in self._catalog() if row["split"] == split]
        missing = [name for name in names if name not in stored]
        if missing:
            raise KrespError(
                f"{len(missing)} of {len(names)} {split} videos of this run, such as {missing[0]}, "
                f"are no longer in {self.records_folder}; {_PREPARE}"
            )
        if not names:
            raise KrespError(f"this run has no {split} videos; choose another split by --split")
        records = [stored[name] for name in names]
        if self.config.data.skip_damaged:
            from kresp3d.records.format import intact

            records = intact(records, self.records_folder)
            if not records:
                raise KrespError(f"every {split} record in {self.records_folder} is damaged; {_PREPARE}")
        return records

    @property
    def records_folder(self) -> Path:
        """Where this run's records are."""
        return location(self.environment["records"])

    @contextmanager
    def disk_errors(self) -> Iterator[None]:
        """Turn a failure to write, Python's or TensorFlow's, into a sentence that names the folder."""
        import tensorflow as tf

        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            raise KrespError(
                f"{CANNOT_WRITE} {self.path}: {reason(error)}; what was finished before is kept. "
                f"Make room or put the permissions right, then go on by {RESUME}"
            ) from error

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Turn a failure to begin a run in this folder into a sentence that names it."""
        try:
            yield
        except OSError as error:
            raise KrespError(f"{CANNOT_WRITE} {self.path}: {reason(error)}; {OTHER_FOLDER}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training into this folder, which is made where it is missing.

        Raises:
            KrespError: If one does already, or the folder cannot be made or written into.
        """
        with ExitStack() as held:
            with self._writable():
                self.path.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.path, f"training in {self.path}; wait for it, or {OTHER_FOLDER}"))
                # Only training writes networks, so these are from one that was killed.
                for file in (self.model_file, self.start_file):
                    for left in self.path.glob(f"{PART}*-{file.name}"):
                        left.unlink()
            yield


def settle_precision(config: Config) -> Config:
    """The configuration with the precision that this machine trains in, where it says `auto`."""
    return _with_precision(config, fast_precision())


def _with_precision(config: Config, precision: str) -> Config:
    """Put a precision in place of `auto`."""
    if config.training.precision != "auto":
        return config
    training = config.training.model_copy(update={"precision": precision})
    return config.model_copy(update={"training": training})


def fast_precision() -> str:
    """The precision that this machine's CPU trains in fastest."""
    # x86-64 and 64-bit Arm.
    has_bfloat16 = cpu_flags(read_text("/proc/cpuinfo")) & {"avx512_bf16", "amx_bf16", "bf16"}
    return "mixed_bfloat16" if has_bfloat16 else "float32"


def package_versions() -> dict[str, str | None]:
    """The installed versions of the packages that figures may depend on; `None` where one is not installed."""
    packages = ("tensorflow", "keras", "numpy", "av", "tensorflow-io", "tensorflow-model-optimization")
    return {name: _version(name) for name in packages}


def code_digest() -> str:
    """A digest of kresp3d's own code."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


def _environment() -> dict[str, Any]:
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "kresp3d": __version__,
        "code": code_digest(),
        "network_format": VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": package_versions(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

"""The phases of a training that goes on with other settings, and which settings may change.

A run begins with its first phase. `kresp3d train --resume` with other values of `PHASE` begins another one after the
last finished epoch: with the weights and moments that are there, and a learning rate that rises and falls over the
epochs that are left. `phases.json` lists the phases after the first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kresp3d.config.schema import Config, changed_keys, parse_config
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import write_text

#: Keys that change neither what is trained nor what is measured.
UNTOLD = (
    *("data.service", "data.workers", "data.memory", "data.time_limit", "evaluation.batch_size"),
    *("training.checkpoints", "training.tensorboard_clips", "training.tensorboard_every", "training.profile"),
    "training.check_memory",
)
#: Keys and sections that change nothing about what is trained, whatever a run does.
NEUTRAL = ("tune", "evaluation", *UNTOLD)
#: Keys that change what a step costs, and which network is kept, but not how a step trains.
STEADY = (
    *("training.gradient_checkpointing", "training.jit_compile"),
    *("training.early_stop", "training.keep", "training.validation_clips"),
)
#: Keys and sections whose change begins a phase.
PHASE = (
    *("training.epochs", "training.batch_size", "training.learning_rate", "training.warmup_epochs"),
    *("training.momentum", "training.nesterov", "training.weight_decay", "training.label_smoothing"),
    *("training.clip_norm", "training.ema", "training.class_weights"),
    *("clip.augment", "clip.per_video", "clip.balanced"),
)


@dataclass(frozen=True)
class Phase:
    """A phase after the first."""

    first_epoch: int
    """Counted from 1, over all phases."""
    first_step: int
    """Steps that the optimiser had done before."""
    changed: dict[str, list[Any]]
    """Key -> its value before and in this phase, as YAML has them."""
    began: str = field(default="", compare=False)
    """When, in UTC."""
    command: str = field(default="", compare=False)

    def __str__(self) -> str:
        return ", ".join(f"{key} {shown(old)} → {shown(new)}" for key, (old, new) in self.changed.items())


def shown(value: Any) -> str:
    """A value of the configuration as YAML would have it in one line."""
    return value if isinstance(value, str) else json.dumps(value)


def refused_keys(old: Config, new: Config) -> list[tuple[str, Any, Any]]:
    """What differs between two configurations, the second of which a run of the first cannot go on with."""
    # Compression goes by the steps of the whole training, and by how the network is computed.
    free = NEUTRAL if old.compress.methods else (*NEUTRAL, *STEADY, *PHASE)
    changed = changed_keys(old, new, besides=free)
    if old.compress.methods:
        return changed
    ends = [key for key in ("training.ema", "training.momentum") if _has_other_state(key, old, new)]
    return changed + [row for row in changed_keys(old, new) if row[0] in ends]


def _has_other_state(key: str, old: Config, new: Config) -> bool:
    """Whether the optimiser keeps other variables."""
    if key == "training.ema":
        return (old.training.ema is None) != (new.training.ema is None)
    return old.training.optimizer == "sgd" and (old.training.momentum == 0) != (new.training.momentum == 0)


def phase_changes(old: Config, new: Config) -> dict[str, list[Any]]:
    """What a phase changes: key -> value before and after, as YAML has them."""
    before, after = old.to_values(), new.to_values()
    keys = [key for key, _, _ in changed_keys(old, new) if any(f"{key}.".startswith(f"{name}.") for name in PHASE)]
    return {key: [_value(before, key), _value(after, key)] for key in keys}


@dataclass(frozen=True)
class Continuation:
    """How a training goes on."""

    done: list[Phase]
    """The phases of which an epoch is finished."""
    origin: Config
    """The configuration of the last epoch that is finished."""
    phases: list[Phase]
    """All phases: those, and perhaps one that begins."""


def continuation(
    phases: Sequence[Phase], old: Config, new: Config, *, epoch: int, step: int, command: str, where: Path
) -> Continuation:
    """Which phases a training has that goes on.

    A phase of which no epoch was finished has not been: another one may take its place.

    Args:
        phases: Those that the run has.
        old: The run's configuration.
        new: What it goes on with.
        epoch: Finished epochs.
        step: Steps that the optimiser has done.
        command: The command line.
        where: The run, for errors.

    Raises:
        UsageError: If a phase would have no epoch.
    """
    done = [phase for phase in phases if phase.first_epoch <= epoch]
    origin = old
    for phase in reversed(phases[len(done) :]):
        origin = _before(origin, phase)
    if not epoch:
        return Continuation([], new, [])
    changed = phase_changes(origin, new)
    if not changed:
        return Continuation(done, origin, done)
    if new.training.epochs <= epoch:
        other = next((key for key in changed if key != "training.epochs"), None)
        raise UsageError(
            f"{where} has trained {epoch} epochs and was to go on with "
            + (f"{other}={shown(changed[other][1])}" if other else f"training.epochs={new.training.epochs}")
            + f", but no epoch is left to train; set training.epochs above {epoch} too, such as "
            f"--set training.epochs={2 * epoch}"
        )
    phase = Phase(epoch + 1, step, changed, datetime.now(UTC).isoformat(timespec="seconds"), command)
    # The same one again is the one that was interrupted.
    kept = [undone for undone in phases[len(done) :] if undone == phase]
    return Continuation(done, origin, [*done, *(kept or [phase])])


def epochs_before(phases: Sequence[Phase]) -> int:
    """The epochs before the last of all phases, of which those after the first are given."""
    return phases[-1].first_epoch - 1 if phases else 0


def read_phases(path: Path, config: Config) -> list[Phase]:
    """Read the phases of a run.

    Args:
        path: `phases.json`, or none.
        config: The run's configuration; the last phase is left out if it is not the one that it leads to, since
            that phase was written but never begun.

    Raises:
        KrespError: If the file is damaged.
    """
    try:
        phases = [Phase(**values) for values in json.loads(path.read_text(encoding="utf-8"))]
        values = config.to_values()
        if phases and any(_value(values, key) != new for key, (_, new) in phases[-1].changed.items()):
            phases.pop()
    except FileNotFoundError:
        return []
    except (ValueError, LookupError, TypeError, AttributeError):
        raise KrespError(f"{path} is damaged; train again by --overwrite") from None
    return phases


def phases_to_json(phases: Sequence[Phase]) -> str:
    """The phases as text; see `phases_from_json`."""
    return json.dumps([asdict(phase) for phase in phases], indent=2) + "\n"


def phases_from_json(text: str) -> list[Phase]:
    """Read what `phases_to_json` wrote."""
    return [Phase(**values) for values in json.loads(text)]


def write_phases(path: Path, phases: Sequence[Phase]) -> None:
    """Write `phases.json`, or delete it where there is none."""
    if phases:
        write_text(path, phases_to_json(phases))
    elif path.is_file():
        path.unlink()


def _before(config: Config, phase: Phase) -> Config:
    """The configuration that a phase changed."""
    values = config.to_values()
    for key, (old, _) in phase.changed.items():
        *sections, name = key.split(".")
        section = values
        for part in sections:
            section = section[part]
        section[name] = old
    return parse_config(values, "phases.json")


def _value(values: Mapping[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values

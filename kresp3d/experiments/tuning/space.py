"""The search space of a sweep: which keys vary over which values, and the configuration that a point of it stands for.

keras-tuner takes values of one plain type. Where a choice mixes types, or has lists or null (`training.ema: [null,
0.99]`), its values go through keras-tuner as YAML text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

import yaml

from kresp3d.config.schema import Config, Dimension, TuneConfig, known_keys, nearest_key, parse_config
from kresp3d.system.errors import UsageError

#: Keys that change what is compared, not how well it does, and what to do instead.
_FIXED = {
    "name": "it names the folder alone",
    "seed": "use tune.seeds, which repeats every trial",
    "evaluation": "all trials are measured alike, on the validation videos",
    "tune": "a sweep does not tune itself",
}
_STORED = ("data.fps", "data.short_side", "data.jpeg_quality")
#: Keys that may differ from machine to machine without changing a result.
_LOCAL = ("videos", "cache", "records", "workers")


@dataclass(frozen=True)
class SearchSpace:
    """The space of a configuration.

    Args:
        base: The configuration; `base.tune.space` is the space.
        where: Its file, for messages.

    Raises:
        UsageError: If there is no space, or a key, a value or a condition cannot be.
    """

    base: Config
    where: str

    def __post_init__(self) -> None:
        if not self.dimensions:
            raise UsageError(
                f"{self.where} has no tune.space, so there is nothing to vary; begin with "
                "`kresp3d config copy tune FILE`, or name keys there, such as tune: {space: {model.attention: bool}}"
            )
        for key, dimension in self.dimensions.items():
            self._check_key(key)
            self._check_condition(key, dimension)
            for value in _examples(dimension):
                self.config({key: value}, seed=self.base.seed)
        _ = self.order

    @property
    def dimensions(self) -> Mapping[str, Dimension]:
        """Key -> its values, as the configuration has them."""
        return self.base.tune.space

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The keys, each after those that it depends on and otherwise as in the configuration."""
        try:
            sorter = TopologicalSorter({key: tuple(d.when) for key, d in self.dimensions.items()})
            return tuple(sorter.static_order())
        except CycleError as error:
            raise UsageError(
                f"{self.where}: tune.space has a circle of conditions: {' -> '.join(error.args[1])}"
            ) from None

    def _check_key(self, key: str) -> None:
        sections = {k.rpartition(".")[0] for k in known_keys()}
        if key not in known_keys() or key in sections:
            raise UsageError(f"{self.where}: tune.space names an unknown key '{key}'; {nearest_key(key)}")
        reason = _FIXED.get(key.partition(".")[0])
        if key.startswith("data.") and key not in _STORED:
            reason = "trials are compared on the same videos"
        if reason:
            raise UsageError(f"{self.where}: '{key}' cannot be tuned: {reason}")

    def _check_condition(self, key: str, dimension: Dimension) -> None:
        for parent, values in dimension.when.items():
            if parent not in self.dimensions:
                raise UsageError(
                    f"{self.where}: '{key}' is to depend on '{parent}', which tune.space does not vary; "
                    "take the condition away, or vary that key"
                )
            possible = _listed(self.dimensions[parent])
            if possible is None:
                raise UsageError(f"{self.where}: '{key}' can depend on a key of choice or bool, received '{parent}'")
            unknown = [value for value in values if value not in possible]
            if unknown:
                raise UsageError(
                    f"{self.where}: '{key}' is to depend on {parent}={unknown[0]}, which is none of {list(possible)}"
                )

    def config(self, settings: Mapping[str, Any], seed: int) -> Config:
        """The configuration of one training.

        Args:
            settings: Key -> value, over the base configuration.
            seed: The seed of the training.

        Raises:
            UsageError: If the configuration refuses a value.
        """
        values = self.base.to_values()
        for key, value in settings.items():
            *sections, name = key.split(".")
            section = values
            for part in sections:
                section = section[part]
            section[name] = value
        values |= {"seed": seed, "tune": TuneConfig().model_dump()}
        values["evaluation"]["split"] = "validation"
        named = ", ".join(f"{key}={value}" for key, value in settings.items())
        return parse_config(values, f"{self.where} with {named}" if named else self.where)

    def encode(self, key: str, value: Any) -> Any:
        """A value of a choice as keras-tuner takes it."""
        choices = self.dimensions[key].choice
        return value if choices is None or _is_uniform(choices) else yaml.safe_dump(value, default_flow_style=True)

    def decode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that keras-tuner's values stand for, in the order of the configuration.

        Values of other names, which keras-tuner's oracles add, are left out.
        """
        settings = {}
        for key, dimension in self.dimensions.items():
            if key in values:
                choices = dimension.choice
                plain = choices is None or _is_uniform(choices)
                settings[key] = values[key] if plain else yaml.safe_load(values[key])
        return settings

    def depend_on(self, key: str) -> set[str]:
        """The keys that matter only with some values of `key`, directly or through others."""
        found: set[str] = set()
        for other in self.order:
            if set(self.dimensions[other].when) & {key, *found}:
                found.add(other)
        return found

    @cached_property
    def digest(self) -> str:
        """A digest of all that decides the results: equal on two machines that may share a sweep."""
        values = self.base.to_values()
        for key in _LOCAL:
            del values["data"][key]
        # How many trials there are decides nothing about any one of them.
        del values["tune"]["trials"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def show(value: Any) -> str:
    """A setting for a table: short, and as YAML has it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return "[" + ", ".join(show(item) for item in value) + "]" if isinstance(value, list | tuple) else str(value)


def _is_uniform(choices: Sequence[Any]) -> bool:
    kinds = {type(value) for value in choices}
    return len(kinds) == 1 and kinds <= {int, float, str, bool}


def _listed(dimension: Dimension) -> tuple[Any, ...] | None:
    return (False, True) if dimension.boolean else dimension.choice


def _examples(dimension: Dimension) -> tuple[Any, ...]:
    """Values that stand for all: each listed one, or the ends of a range."""
    return _listed(dimension) or dimension.integers or dimension.numbers or ()

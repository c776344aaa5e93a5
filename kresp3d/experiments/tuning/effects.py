"""What a sweep says about each key: how the score goes with its values."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from kresp3d.experiments.tuning.journal import Outcome, TrialRecord
from kresp3d.experiments.tuning.space import SearchSpace


@dataclass(frozen=True)
class Trial:
    """A trial as the report has it."""

    name: str
    settings: Mapping[str, Any]
    """Of the keys that mattered in this trial."""
    outcome: Outcome | None

    @property
    def has_ended(self) -> bool:
        """Whether it is not to be run any more."""
        return self.outcome is not None and self.outcome.status != "lost"

    @property
    def score(self) -> float | None:
        """Mean video top-1, of a trial that was trained to its end; `None` of the others."""
        return self.outcome.score if self.outcome and self.outcome.status == "done" else None


def read_trials(records: Sequence[TrialRecord], space: SearchSpace) -> list[Trial]:
    """The trials of a journal, in the order in which they were begun."""
    return [Trial(record.trial, space.decode(record.values), record.outcome) for record in records]


def rank(trials: Sequence[Trial]) -> list[Trial]:
    """Those that were trained to their end, the best first; of equals the longer trained, then the earlier."""
    finished = [trial for trial in trials if trial.score is not None]
    return sorted(finished, key=lambda trial: (-(trial.score or 0.0), -(trial.outcome.epochs if trial.outcome else 0)))


@dataclass(frozen=True)
class ValueEffect:
    """What one value of a key does."""

    value: Any
    trials: int
    mean: float
    """Of the scores of the trials with this value."""
    spread: float | None
    """Standard deviation of these scores, of two or more."""
    differences: tuple[float, ...]
    """Score minus that of the reference value, for each setting of the other keys that has both."""

    @property
    def difference(self) -> float | None:
        """The mean of the differences."""
        return fmean(self.differences) if self.differences else None

    @property
    def difference_spread(self) -> float | None:
        """Their standard deviation, of two or more."""
        return stdev(self.differences) if len(self.differences) > 1 else None


def value_effects(key: str, trials: Sequence[Trial], space: SearchSpace) -> list[ValueEffect]:
    """The effect of each value of a key, the reference first: the least number, `false`, or the first of the choices.

    Trials are compared where all else is equal: where the other keys have the same values. Keys that depend on this
    one are no part of that, and the scores over them are averaged.

    Args:
        key: A key of the space.
        trials: All trials; those without a score, and those in which the key did not matter, are left out.
        space: The search space.
    """
    dependent = space.depend_on(key)
    by_value: dict[str, list[float]] = defaultdict(list)
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    values: dict[str, Any] = {}
    for trial in trials:
        if trial.score is None or key not in trial.settings:
            continue
        value = trial.settings[key]
        name = repr(value)
        values[name] = value
        others = {k: v for k, v in trial.settings.items() if k != key and k not in dependent}
        by_value[name].append(trial.score)
        groups[repr(sorted(others.items()))][name].append(trial.score)
    names = sorted(values, key=lambda name: _place(key, values[name], space))
    effects = []
    for name in names:
        pairs = [group for group in groups.values() if name in group and names[0] in group] if name != names[0] else []
        effects.append(
            ValueEffect(
                values[name],
                len(by_value[name]),
                fmean(by_value[name]),
                stdev(by_value[name]) if len(by_value[name]) > 1 else None,
                tuple(fmean(group[name]) - fmean(group[names[0]]) for group in pairs),
            )
        )
    return effects


def rank_correlation(key: str, trials: Sequence[Trial]) -> float | None:
    """Spearman's rank correlation of a key's numbers with the score; `None` where it is not defined."""
    from scipy.stats import spearmanr

    pairs = [
        (trial.settings[key], trial.score) for trial in trials if trial.score is not None and key in trial.settings
    ]
    if len({value for value, _ in pairs}) < 3 or len({score for _, score in pairs}) < 2:
        return None
    value = float(spearmanr(*zip(*pairs, strict=True)).statistic)
    return None if math.isnan(value) else value


def is_range(key: str, space: SearchSpace) -> bool:
    """Whether a key takes numbers of a range, of which hardly two trials have the same."""
    dimension = space.dimensions[key]
    return dimension.numbers is not None or dimension.integers is not None


def _place(key: str, value: Any, space: SearchSpace) -> Any:
    choices = space.dimensions[key].choice
    return value if choices is None else choices.index(value)

"""Figures of a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kresp3d.evaluation.figures import BLUE, ORANGE, percent
from kresp3d.experiments.tuning.effects import Trial, is_range, rank, value_effects
from kresp3d.experiments.tuning.space import SearchSpace, show


def key_figure(key: str, trials: Sequence[Trial], space: SearchSpace) -> Figure:
    """The scores of all finished trials over the values of one key.

    A key with listed values has a column of dots for each, with the mean; one with a range has a scatter plot.

    Args:
        key: A key of the space with at least one finished trial.
        trials: All trials.
        space: The search space.
    """
    shown = [trial for trial in rank(trials) if key in trial.settings]
    if not shown:
        raise ValueError(f"expected at least one finished trial with {key}")
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.add_subplot()
    scores = [trial.score or 0.0 for trial in shown]
    if is_range(key, space):
        values = [trial.settings[key] for trial in shown]
        axes.plot(values, scores, "o", color=BLUE, alpha=0.6, markersize=5)
        axes.plot(values[:1], scores[:1], "D", color=ORANGE, markersize=7, label=f"best, {percent(scores[0])}")
        if space.dimensions[key].log:
            axes.set_xscale("log")
    else:
        effects = value_effects(key, shown, space)
        places = {repr(effect.value): place for place, effect in enumerate(effects)}
        columns = [places[repr(trial.settings[key])] for trial in shown]
        axes.plot(np.array(columns) + _spread_out(columns), scores, "o", color=BLUE, alpha=0.55, markersize=5)
        axes.errorbar(
            list(places.values()),
            [effect.mean for effect in effects],
            yerr=[math.nan if effect.spread is None else effect.spread for effect in effects],
            fmt="D",
            color=ORANGE,
            markersize=7,
            capsize=4,
            label="mean, standard deviation",
        )
        axes.set_xticks(list(places.values()), [show(effect.value) for effect in effects], parse_math=False)
        axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_xlabel(key, parse_math=False)
    axes.set_ylabel("video top-1 (validation)")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.grid(axis="y", color="#E8E8E8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8)
    return figure


def _spread_out(columns: Sequence[int]) -> Any:
    """Places side by side for the dots of a column, always the same ones, so that equal sweeps give equal figures."""
    offsets = np.zeros(len(columns))
    for column in set(columns):
        members = [index for index, other in enumerate(columns) if other == column]
        # A low-discrepancy sequence: neighbours in score do not stand in a line.
        offsets[members] = ((np.arange(len(members)) * 0.618034) % 1.0 - 0.5) * 0.5
    return offsets

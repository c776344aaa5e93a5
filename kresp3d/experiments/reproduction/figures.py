"""A figure for each table of the paper: what was measured here beside what the paper says."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kresp3d.evaluation.figures import BLUE, INK, ORANGE
from kresp3d.experiments.reproduction.results import Results
from kresp3d.experiments.reproduction.tables import Table

#: Half of the room between two rows that the dots of one take.
_SPREAD = 0.08


def table_figure(table: Table, results: Results) -> Figure:
    """Video top-1 of each row of a table: a dot for each seed, their mean with the standard deviation, and the paper's.

    Args:
        table: A table.
        results: What was measured; rows of which nothing is finished have the paper's mark alone.
    """
    figure = Figure(figsize=(1.75 * len(table.entries) + 0.9, 3.9), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(table.entries))
    means = [results.mean(entry.row) for entry in table.entries]
    dots = [(place, value) for place, mean in zip(places, means, strict=True) for value in mean.values]
    if dots:
        columns = [
            place - 0.16 + offset
            for place, mean in zip(places, means, strict=True)
            for offset in np.linspace(-_SPREAD, _SPREAD, len(mean.values))
        ]
        axes.plot(columns, [value for _, value in dots], "o", color=BLUE, alpha=0.5, markersize=5, label="a seed")
        shown = [(place, mean) for place, mean in zip(places, means, strict=True) if mean.values]
        axes.errorbar(
            [place for place, _ in shown],
            [mean.mean or 0.0 for _, mean in shown],
            yerr=[np.nan if mean.spread is None else mean.spread for _, mean in shown],
            fmt="s",
            color=BLUE,
            markersize=6,
            capsize=4,
            label="mean and standard deviation",
        )
        for place, mean in shown:
            assert mean.mean is not None
            _write(axes, place + 0.06, mean.mean, BLUE)
    paper = [entry.top1 for entry in table.entries]
    axes.plot(places + 0.32, paper, "D", color=ORANGE, markersize=6, label="the paper, on UCF101")
    names = [textwrap.fill(entry.label, 17) for entry in table.entries]
    axes.set_xticks(places, names, color=INK, parse_math=False)
    axes.set_xlim(-0.45, len(places) - 0.45)
    axes.set_ylabel(f"video top-1 ({results.base.evaluation.split} videos)", color=INK)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.margins(y=0.12)
    axes.grid(axis="y", color="#E8E8E8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    axes.tick_params(labelcolor=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _write(axes: object, place: float, value: float, colour: str) -> None:
    axes.annotate(  # type: ignore[attr-defined]
        f"{100 * value:.1f}", (place, value), xytext=(2, 3), textcoords="offset points", fontsize=8, color=colour
    )

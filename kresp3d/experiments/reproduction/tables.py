"""The paper's experiments: which networks it compares, what it measured, and what it claims.

All numbers are those of J. Chen, J. Hsiao, C. M. Ho, "Residual Frames with Efficient Pseudo-3D CNN for Human Action
Recognition", 2020, Tables 2 to 4: UCF101, split 1, trained from scratch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kresp3d.config.schema import Config, parse_config


@dataclass(frozen=True)
class Row:
    """A network of the experiments. A row that several tables have is trained once."""

    name: str
    label: str
    settings: Mapping[str, Any]
    """Keys of `model` in which it differs from the full network."""


@dataclass(frozen=True)
class Entry:
    """A line of a table: a row with the paper's numbers, video top-1 and top-5 as shares, and GFLOPs."""

    row: str
    label: str
    top1: float
    top5: float | None = None
    gflops: float | None = None


@dataclass(frozen=True)
class Table:
    """A table of the paper."""

    number: int
    title: str
    entries: tuple[Entry, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        """The names of its rows."""
        return tuple(entry.row for entry in self.entries)


@dataclass(frozen=True)
class Claim:
    """Something that a table of the paper says, as comparisons of two rows: the better one first."""

    table: int
    words: str
    comparisons: tuple[tuple[str, str], ...]


_FULL: Mapping[str, Any] = {
    "variant": "p3d",
    "modality": "both",
    "step": 1,
    "attention": True,
    "feature_residual": True,
}

ROWS: Mapping[str, Row] = {
    row.name: row
    for row in (
        Row("rgb", "RGB", {"modality": "rgb"}),
        Row("residual", "residual", {"modality": "residual"}),
        Row("both", "RGB + residual", {}),
        Row("full3d", "RGB + residual, full 3D", {"variant": "full3d"}),
        Row("residual_s2", "residual, step 2", {"modality": "residual", "step": 2}),
        Row("residual_s4", "residual, step 4", {"modality": "residual", "step": 4}),
        Row("no_attention", "without attention", {"attention": False}),
        Row("no_feature_residual", "without feature residual", {"feature_residual": False}),
        Row("plain", "without either", {"attention": False, "feature_residual": False}),
    )
}

TABLES: tuple[Table, ...] = (
    Table(
        2,
        "Modalities, and the pseudo-3D network against full 3D",
        (
            Entry("rgb", "RGB", 0.804, 0.950, 28),
            Entry("residual", "residual", 0.830, 0.983, 28),
            Entry("both", "RGB + residual", 0.856, 0.992, 30),
            Entry("full3d", "RGB + residual, full 3D", 0.850, 0.991, 163),
        ),
    ),
    Table(
        3,
        "Step size of the residual frames",
        (
            Entry("residual", "step 1", 0.830),
            Entry("residual_s2", "step 2", 0.827),
            Entry("residual_s4", "step 4", 0.802),
        ),
    ),
    Table(
        4,
        "Parts of the pseudo-3D module",
        (
            Entry("both", "full module", 0.856),
            Entry("no_attention", "without attention", 0.838),
            Entry("no_feature_residual", "without feature residual", 0.835),
            Entry("plain", "without either", 0.821),
        ),
    ),
)

CLAIMS: tuple[Claim, ...] = (
    Claim(2, "both > residual > RGB", (("both", "residual"), ("residual", "rgb"))),
    Claim(2, "pseudo-3D ≥ full 3D", (("both", "full3d"),)),
    Claim(3, "step 1 ≥ step 2 ≥ step 4", (("residual", "residual_s2"), ("residual_s2", "residual_s4"))),
    Claim(
        4,
        "full module > without either part > without both",
        (
            ("both", "no_attention"),
            ("both", "no_feature_residual"),
            ("no_attention", "plain"),
            ("no_feature_residual", "plain"),
        ),
    ),
)


def find_table(number: int) -> Table:
    """The table of a number."""
    return next(table for table in TABLES if table.number == number)


def rows_of(tables: Iterable[int]) -> tuple[str, ...]:
    """The rows that tables have, each once, in the order of `ROWS`."""
    wanted = {row for number in tables for row in find_table(number).rows}
    return tuple(name for name in ROWS if name in wanted)


def paper_top1(row: str) -> float:
    """The paper's video top-1 of a row, a share; it is the same in every table that has the row."""
    return next(entry.top1 for table in TABLES for entry in table.entries if entry.row == row)


def row_config(base: Config, row: str, seed: int | None = None) -> Config:
    """The configuration of a row's training.

    Args:
        base: The configuration that all rows share; its own modality, step, variant and module's parts do not count.
        row: A name of `ROWS`.
        seed: The seed; by default `base`'s.

    Raises:
        UsageError: If the row is not possible with this configuration.
    """
    values = base.to_values()
    values["name"] = f"{base.name}-{row}"
    values["model"] |= {**_FULL, **ROWS[row].settings}
    if seed is not None:
        values["seed"] = seed
    return parse_config(values, f"row {row}")

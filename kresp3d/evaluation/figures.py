"""Figures of a run, drawn with matplotlib's object interface: no window, no global state.

Colours are from Okabe and Ito's palette, which colour-blind readers can tell apart. Class names are drawn as they are
(a `$` starts no formula) and cut where they are long.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kresp3d.evaluation.metrics import ClassResult, wilson_interval
from kresp3d.system.errors import KrespError
from kresp3d.system.files import written_aside

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, AMBER, SKY = "#CC79A7", "#E69F00", "#56B4E9"
INK, FAINT = "#333333", "#D0D0D0"
#: Up to so many classes, the cells of a confusion matrix show counts.
COUNTED_CLASSES = 25
#: Up to so many classes, each one is named in a figure.
NAMED_CLASSES = 110


def save(figure: Figure, path: Path, dpi: int = 120) -> Path:
    """Write a figure as PNG; it appears under its name only when whole. Equal figures give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as temporary:
        temporary.write_bytes(encode(figure, dpi))
    return path


def encode(figure: Figure, dpi: int = 120) -> bytes:
    """A figure as PNG. Equal figures give equal bytes."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi, facecolor="white", bbox_inches="tight", metadata={"Software": None})
    return png.getvalue()


def confusion_figure(confusion: npt.NDArray[np.integer], classes: Sequence[str]) -> Figure:
    """The confusion matrix, each row as shares of the true class.

    Up to 25 classes the cells show counts. Beyond, the colour scale follows the square root of the share, so that
    single confusions stay visible. Rows of classes without videos are grey.

    Args:
        confusion: Videos `[C, C]`; row: the true class, column: the predicted one.
        classes: The `C` names.
    """
    count = len(classes)
    if confusion.shape != (count, count):
        raise ValueError(f"confusion must be [{count}, {count}], received {list(confusion.shape)}")
    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.ma.masked_where(np.broadcast_to(totals == 0, confusion.shape), confusion / np.maximum(totals, 1))

    counted = count <= COUNTED_CLASSES
    font = 9.0 if counted else 7.0 if count <= 60 else 5.5
    side = max(3.0, 0.42 * count) if counted else min(12.0, max(8.0, 0.14 * count))
    figure = Figure(figsize=(side + 2.6, side + 1.8), layout="constrained")
    axes = figure.add_subplot()
    colours = colormaps["Blues"].with_extremes(bad="#EEEEEE")
    norm = PowerNorm(1.0 if counted else 0.5, 0.0, 1.0)
    image = axes.imshow(shares, cmap=colours, norm=norm, interpolation="nearest" if count <= NAMED_CLASSES else "auto")
    if counted:
        _write_counts(axes, confusion, np.asarray(shares.filled(0.0)), font)

    every = math.ceil(count / NAMED_CLASSES)
    ticks = range(0, count, every)
    names = [shorten(classes[i], 22) for i in ticks]
    axes.set_xticks(ticks, names, rotation=90 if count > 6 else 0, fontsize=font, parse_math=False)
    axes.set_yticks(ticks, names, fontsize=font, parse_math=False)
    which = "" if every == 1 else f" (one name in {every} is shown)"
    axes.set_xlabel(f"predicted class{which}", color=INK)
    axes.set_ylabel(f"true class{which}", color=INK)
    axes.tick_params(length=0 if counted else 2, color=FAINT, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, format=PercentFormatter(1.0, decimals=0, symbol=" %"))
    bar.set_label("share of the true class's videos", color=INK)
    bar.outline.set_visible(False)
    return figure


def per_class_figure(rows: Sequence[ClassResult]) -> Figure:
    """Video top-1 of each class as a bar with its 95 % interval, and clip top-1 as a mark, the weakest class on top.

    Classes without videos are left out. Of more than 110 classes the weakest 110 are shown.
    """
    measured = [(row.video_top1, row) for row in rows if row.video_top1 is not None]
    if not measured:
        raise ValueError("expected at least one class that has videos")
    shown = sorted(measured, key=lambda pair: (pair[0], pair[1].clip_top1 or 0.0, pair[1].name))[:NAMED_CLASSES]
    shares = np.array([share for share, _ in shown])
    intervals = [wilson_interval(round(share * row.videos), row.videos) for share, row in shown]
    whiskers = np.abs(np.array(intervals).T - shares)
    places = np.arange(len(shown))
    row_height, font = (0.3, 9.0) if len(shown) <= 30 else (0.17, 7.0)

    figure = Figure(figsize=(7.5, row_height * len(shown) + 1.3), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(places, shares, height=0.7, color=BLUE, alpha=0.55, label="video top-1, 95 % interval")
    axes.errorbar(shares, places, xerr=whiskers, fmt="none", ecolor=INK, elinewidth=0.8, alpha=0.7)
    clips = [math.nan if row.clip_top1 is None else row.clip_top1 for _, row in shown]
    (marks,) = axes.plot(clips, places, "D", markersize=font / 2, color=ORANGE, clip_on=False, label="clip top-1")
    overall = sum(share * row.videos for share, row in measured) / sum(row.videos for _, row in measured)
    line = axes.axvline(
        overall, color=INK, linewidth=0.8, linestyle=":", label=f"all videos, {percent(overall)}", zorder=0
    )

    names = [f"{shorten(row.name, 28)}  ({row.videos})" for _, row in shown]
    axes.set_yticks(places, names, fontsize=font, parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.02)
    left_out = f"; the weakest {len(shown)} of {len(measured)} classes" if len(shown) < len(measured) else ""
    axes.set_xlabel(f"share recognised (number of videos in brackets{left_out})", color=INK)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    tidy(axes, "x")
    axes.tick_params(axis="y", length=0)
    figure.legend(handles=[bars, marks, line], loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    return figure


def history_figure(path: Path) -> Figure:
    """Loss, top-1 and learning rate over the epochs of a run, with a line where a new phase begins.

    Args:
        path: A CSV with the columns `epoch` and `loss`, and where there are any `top1`, `val_loss`, `val_top1`,
            `learning_rate` and `phase`. Empty cells are gaps.

    Raises:
        KrespError: If the file is missing or has no such rows.
    """
    table = _read_history(path)
    panels = [("loss", "loss"), ("top1", "top-1"), ("learning_rate", "learning rate")]
    panels = [(key, label) for key, label in panels if key in table or f"val_{key}" in table]
    heights = [1.0 if key == "learning_rate" else 2.2 for key, _ in panels]
    figure = Figure(figsize=(7.5, 1.25 * sum(heights) + 0.8), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    epochs = table["epoch"]
    for axes, (key, label) in zip(grid[:, 0], panels, strict=True):
        lines = [("training", key, BLUE if key != "learning_rate" else INK), ("validation", f"val_{key}", ORANGE)]
        for name, column, colour in lines:
            if column in table:
                # A single epoch has no line to draw.
                marker = "o" if len(epochs) <= 30 else None
                axes.plot(epochs, table[column], color=colour, linewidth=1.6, marker=marker, markersize=3, label=name)
        for epoch in epochs[1:][np.diff(table["phase"]) > 0] if "phase" in table else ():
            axes.axvline(epoch - 0.5, color=INK, linewidth=0.8, linestyle=":")
        axes.set_ylabel(label, color=INK)
        tidy(axes, "y")
        if key == "top1":
            axes.set_ylim(0, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
            _mark_best(axes, table)
        elif key == "learning_rate":
            axes.set_ylim(bottom=0)
    last = grid[-1, 0]
    last.set_xlabel("epoch", color=INK)
    last.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    last.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
    if len(grid[0, 0].get_lines()) > 1:
        grid[0, 0].legend(frameon=False, fontsize=9)
    figure.align_ylabels()
    return figure


def _read_history(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    if not path.is_file():
        raise KrespError(f"training history not found: {path}")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = {"epoch", "loss"} - set(rows[0] if rows else ())
    if missing:
        raise KrespError(
            f"{path}: expected at least one row, with columns 'epoch' and 'loss'; missing: {sorted(missing)}"
        )
    table: dict[str, npt.NDArray[np.float64]] = {}
    for column in ("epoch", "loss", "val_loss", "top1", "val_top1", "learning_rate", "phase"):
        try:
            values = np.array([float(row.get(column) or "nan") for row in rows])
        except ValueError:
            raise KrespError(f"{path}: expected numbers in column '{column}'") from None
        if not np.isnan(values).all():
            table[column] = values
    return table


def _mark_best(axes: Axes, table: dict[str, npt.NDArray[np.float64]]) -> None:
    if "val_top1" not in table:
        return
    epochs, scores = table["epoch"], table["val_top1"]
    losses = table.get("val_loss", np.zeros_like(scores))
    # The first epoch of the highest score and, among equals, the lowest loss: the network that training keeps.
    best = int(np.lexsort((losses, -scores))[0])
    axes.plot(epochs[best], scores[best], marker="o", markersize=8, markerfacecolor="none", color=ORANGE)
    text = f"best validation {percent(scores[best])}, epoch {epochs[best]:g}"
    axes.text(0.99, 0.04, text, transform=axes.transAxes, ha="right", fontsize=9, color=ORANGE)


def rgb_over_residual(
    clip: npt.NDArray[np.uint8], step: int, columns: int = 8, brighten: float = 4.0, gap: int = 2
) -> npt.NDArray[np.uint8]:
    """Frames of a clip above their residual frames `|x[t+s] - x[t]|`, as in Fig. 1 of the paper.

    Args:
        clip: uint8 `[T + s, H, W, 3]`.
        step: The step size `s`.
        columns: Frames shown, evenly spread over `T`; fewer where `T` is smaller.
        brighten: Factor on the residual for display; residuals of real video are dark.
        gap: White pixels between pictures.

    Returns:
        uint8 `[2 H + gap, columns (W + gap) - gap, 3]`.
    """
    times = shown_times(len(clip), step, columns)
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3:
        raise ValueError(f"clip must be uint8 [T + s, H, W, 3], received {clip.dtype} {list(clip.shape)}")
    return tiled([clip[times], bright_residual(clip[times], clip[times + step], brighten)], gap)


def bright_residual(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], brighten: float = 4.0
) -> npt.NDArray[np.uint8]:
    """`abs(second - first) * brighten` of uint8 pictures of one shape, to look at: uint8, cut at 255."""
    # uint8 would wrap around below 0.
    residual = np.abs(second.astype(np.int16) - first.astype(np.int16))
    return np.minimum(np.rint(residual * brighten), 255).astype(np.uint8)


def tiled(rows: Sequence[npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]]], gap: int) -> npt.NDArray[np.uint8]:
    """Rows of equally many pictures as one picture.

    Args:
        rows: Of each row the pictures, uint8 `[N, H, W, 3]`; all of one size.
        gap: White pixels between pictures.

    Returns:
        uint8 `[R (H + gap) - gap, N (W + gap) - gap, 3]` for `R` rows.
    """
    height, width, _ = rows[0][0].shape
    sheet = np.full((len(rows) * (height + gap) - gap, len(rows[0]) * (width + gap) - gap, 3), 255, np.uint8)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            top, left = row * (height + gap), column * (width + gap)
            sheet[top : top + height, left : left + width] = picture
    return sheet


def shown_times(frames: int, step: int, columns: int) -> npt.NDArray[np.int64]:
    """Up to `columns` times `t`, evenly spread over the `frames - step` that have a residual frame."""
    if step < 1 or columns < 1 or frames <= step:
        raise ValueError(
            f"expected step >= 1, columns >= 1 and more frames than step; received {step}, {columns}, {frames}"
        )
    length = frames - step
    return np.rint(np.linspace(0, length - 1, min(columns, length))).astype(np.int64)


def clip_sheet(
    clip: npt.NDArray[np.uint8], step: int, *, title: str = "", columns: int = 8, brighten: float = 4.0
) -> Figure:
    """`rgb_over_residual` as a figure, with the times above and the rows named.

    Args:
        clip: uint8 `[T + s, H, W, 3]`.
        step: The step size `s`.
        title: A line above, such as the video's class.
        columns: Frames shown.
        brighten: Factor on the residual for display; it is stated beside the row.
    """
    times = shown_times(len(clip), step, columns)
    rows = [clip[times], bright_residual(clip[times], clip[times + step], brighten)]
    labels = ["RGB\n$x_t$", residual_label(step, brighten)]
    return labelled_sheet(rows, labels, [f"t = {t}" for t in times], title=title)


def residual_label(step: int, brighten: float) -> str:
    """The name of a row of residual frames."""
    return f"residual × {brighten:g}\n$|x_{{t+{step}}} - x_t|$"


def labelled_sheet(
    rows: Sequence[npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    title: str = "",
) -> Figure:
    """Rows of pictures as a figure, with a name beside each row and above each column.

    Args:
        rows: As for `tiled`.
        row_labels: One for each row; `$` encloses a formula.
        column_labels: One for each column.
        title: A line above.
    """
    height, width, _ = rows[0][0].shape
    size = (1.25 * len(rows[0]) + 1.2, 1.25 * len(rows) * height / width + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    draw_sheet(axes, rows, row_labels, column_labels)
    if title:
        axes.set_title(title, fontsize=11, color=INK, parse_math=False)
    return figure


def draw_sheet(
    axes: Axes,
    rows: Sequence[npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
) -> None:
    """Draw rows of pictures; see `labelled_sheet`."""
    gap = 2
    height, width, _ = rows[0][0].shape
    axes.imshow(tiled(rows, gap))
    axes.set_yticks([(i + 0.5) * height + i * gap for i in range(len(rows))], row_labels)
    axes.set_xticks([i * (width + gap) + width / 2 for i in range(len(rows[0]))], column_labels)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelcolor=INK, labelsize=9)
    axes.set_frame_on(False)


def _write_counts(axes: Axes, confusion: npt.NDArray[np.integer], shares: npt.NDArray[np.float64], font: float) -> None:
    for i, j in np.argwhere(confusion):
        colour = "white" if shares[i, j] > 0.5 else INK
        axes.text(j, i, str(confusion[i, j]), ha="center", va="center", fontsize=font, color=colour)


def tidy(axes: Axes, grid: Literal["x", "y"]) -> None:
    """Leave what carries data: a light grid on one axis, no box."""
    axes.grid(axis=grid, color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK)


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f} %"


def shorten(name: str, length: int) -> str:
    """A name of at most `length` characters; a longer one is cut, and an ellipsis says so."""
    name = " ".join(name.split())
    return name if len(name) <= length else f"{name[: length - 1]}…"

"""The panels of an explanation: pictures, scores over time, attention by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from kresp3d.evaluation.figures import (
    AMBER,
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    bright_residual,
    shorten,
    tidy,
)
from kresp3d.explain.attention import Weight
from kresp3d.explain.explanation import Watched, Weights

Picture = npt.NDArray[np.uint8]

#: Factor on the residual frames that are shown.
BRIGHTEN = 4.0
#: Part of the module -> its name in a figure and its colour.
PARTS = {
    "appearance": ("appearance", BLUE),
    "motion": ("motion", ORANGE),
    "feature_residual": ("feature residual", GREEN),
}
_CURVES = (ORANGE, BLUE, GREEN, PURPLE, AMBER, SKY)
HEAT = "inferno"


def shown_classes(watched: Watched, label: int, top: int = 5) -> list[int]:
    """The class that is explained and, after it, the best by mean score: `top` in all, or one more."""
    best = np.argsort(-watched.mean, kind="stable")[:top].tolist()
    return [label, *(i for i in best if i != label)]


def residual_of(video: Picture, watched: Watched, frame: int) -> Picture:
    """The residual frame that the network has at a frame, brightened: uint8 `[S, S, 3]`."""
    first, second = watched.later(frame)
    return bright_residual(np.asarray(video[first]), np.asarray(video[second]), BRIGHTEN)


def heated(picture: Picture, heat: npt.NDArray[np.float32] | None) -> Picture:
    """Heat over a grey and darkened picture; without any, where no clip holds the frame, that picture alone.

    Args:
        picture: uint8 `[H, H, 3]`.
        heat: float32 `[S, S]` in [0, 1].

    Returns:
        uint8 `[H, H, 3]`.
    """
    grey = 0.6 * picture.astype(np.float32).mean(axis=-1, keepdims=True)
    if heat is None:
        return np.repeat(grey, 3, axis=-1).astype(np.uint8)
    side = picture.shape[0]
    large = np.asarray(Image.fromarray(heat).resize((side, side), Image.Resampling.BILINEAR))
    # Most heat is far below a clip's strongest place; the scale beside the picture bends likewise.
    strength = np.sqrt(np.clip(large, 0, 1))
    colour = 255 * colormaps[HEAT](0.2 + 0.8 * strength)[..., :3]
    opacity = 0.9 * strength[..., None]
    return np.clip(grey * (1 - opacity) + colour * opacity, 0, 255).astype(np.uint8)


def draw_heat_scale(axes: Axes, source: str) -> None:
    """What the colours of the heat mean, and where it was computed."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(256, axis=0)
    axes.imshow(heated(np.full((256, 256, 3), 110, np.uint8), ramp), aspect="auto", extent=(0, 1, 0, 1))
    axes.set_axis_off()
    for place, side, text in (
        (0, "left", "no evidence"),
        (0.45, "center", source),
        (1, "right", "strongest of a clip"),
    ):
        axes.text(place, -0.5, text, transform=axes.transAxes, ha=side, va="top", fontsize=8, color=INK)


def draw_scores(axes: Axes, watched: Watched, classes: Sequence[int]) -> list[Text]:
    """Scores of some classes over time, and beside them the classes' names with a value each.

    Args:
        axes: Has room at its right for the names.
        watched: The scores.
        classes: The classes, the one that is explained first.

    Returns:
        The texts of the values, which show the mean over the clips.
    """
    axes.set_title("score of each clip, at its middle", fontsize=10, color=INK, loc="left")
    values = []
    end = watched.seconds or 1 / watched.form.fps
    for place, label in enumerate(classes):
        colour, scores, times = _CURVES[place % len(_CURVES)], watched.scores[:, label], watched.times
        if len(scores) == 1:
            # One clip has no curve; its score holds for all it has seen.
            times = np.clip(times[0] + np.array([-0.5, 0.5]) * watched.form.span / watched.form.fps, 0, end)
            scores = np.repeat(scores, 2)
        marker = "o" if len(watched.starts) <= 40 else None
        width = 2.4 if place == 0 else 1.4
        axes.plot(times, scores, color=colour, linewidth=width, marker=marker, markersize=3, clip_on=False)
        row = 1 - (place + 0.5) / max(len(classes), 5)
        axes.text(
            1.14, row, shorten(watched.labels[label], 24), transform=axes.transAxes, va="center", fontsize=9,
            color=colour, fontweight="bold" if place == 0 else "normal", parse_math=False,
        )  # fmt: skip
        values.append(
            axes.text(1.12, row, "", transform=axes.transAxes, va="center", ha="right", fontsize=9, color=colour)
        )
    set_scores(values, watched.mean[list(classes)])
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("time in the video (s)", color=INK, fontsize=9)
    tidy(axes, "y")
    axes.tick_params(labelsize=8)
    return values


def set_scores(values: Sequence[Text], scores: Sequence[float] | npt.NDArray[Any]) -> None:
    """Write scores into the texts that `draw_scores` gave."""
    for text, score in zip(values, scores, strict=True):
        text.set_text(f"{100 * score:.0f} %")


class AttentionPanel:
    """The mean mask of each stage and part as bars, with whiskers for the spread over channels.

    Args:
        axes: Where to draw.
        weights: What is shown at first; empty where the network has no attention, which is then said instead.
        full3d: Whether the network is the 3D baseline, for that sentence.
    """

    def __init__(self, axes: Axes, weights: Weights, *, full3d: bool = False) -> None:
        self._bars: dict[tuple[str, str], Rectangle] = {}
        self._whiskers: LineCollection | None = None
        if not weights:
            why = "The full 3D network has no attention." if full3d else "This network has no attention."
            axes.set_axis_off()
            axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", fontsize=10, color=INK)
            return
        axes.set_title("attention by stage", fontsize=10, color=INK, loc="left", pad=20)
        parts = [part for part in PARTS if part in next(iter(weights.values()))]
        height = 0.8 / len(parts)
        for row, stage in enumerate(weights):
            for place, part in enumerate(parts):
                top = row - 0.4 + place * height
                bar = Rectangle((0, top), 0, 0.9 * height, facecolor=PARTS[part][1], alpha=0.75)
                axes.add_patch(bar)
                self._bars[stage, part] = bar
        self._whiskers = LineCollection([], colors=INK, linewidths=0.8)
        axes.add_collection(self._whiskers)
        colours = [Rectangle((0, 0), 1, 1, facecolor=PARTS[part][1], alpha=0.75) for part in parts]
        axes.legend(
            colours, [PARTS[part][0] for part in parts], loc="lower left", bbox_to_anchor=(-0.02, 0.96),
            ncols=len(parts), frameon=False, fontsize=8, handlelength=1, columnspacing=1.2,
        )  # fmt: skip
        axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=":", zorder=0)
        axes.set_yticks(range(len(weights)), list(weights))
        axes.set_ylim(len(weights) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xlabel("mask M of the channels: mean, and its spread over them", color=INK, fontsize=9)
        tidy(axes, "x")
        axes.tick_params(labelsize=8)
        axes.tick_params(axis="y", length=0)
        self.show(weights)

    @property
    def moving(self) -> list[Any]:
        """The artists that `show` changes."""
        return [*self._bars.values(), self._whiskers] if self._whiskers is not None else []

    def show(self, weights: Mapping[str, Mapping[str, Weight]]) -> None:
        """Change the bars."""
        lines = []
        for (stage, part), bar in self._bars.items():
            weight = weights[stage][part]
            bar.set_width(weight.mean)
            middle = bar.get_y() + bar.get_height() / 2
            lines.append([(weight.mean - weight.spread, middle), (weight.mean + weight.spread, middle)])
        if self._whiskers is not None:
            self._whiskers.set_segments(lines)

"""Where a clip is cropped: box arithmetic only.

Multi-scale corner cropping: the side of a square is a share of the frame's short side, and the square lies in one of
the four corners or in the centre. Wang et al., Towards Good Practices for Very Deep Two-Stream ConvNets, 2015.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

#: Each position as (vertical, horizontal) shares of the free room, in halves.
POSITIONS: dict[str, tuple[int, int]] = {
    "top_left": (0, 0),
    "top_right": (0, 2),
    "bottom_left": (2, 0),
    "bottom_right": (2, 2),
    "centre": (1, 1),
}


class Box(NamedTuple):
    """A square inside a frame, in pixels."""

    top: int
    left: int
    side: int


def crop_box(height: int, width: int, scale: float, position: str) -> Box:
    """The square of `scale` times the short side at one of `POSITIONS`.

    Args:
        height: Of the frame, in pixels.
        width: Of the frame, in pixels.
        scale: Above 0, at most 1.
        position: A key of `POSITIONS`.
    """
    side = max(1, round(scale * min(height, width)))
    vertical, horizontal = POSITIONS[position]
    return Box((height - side) * vertical // 2, (width - side) * horizontal // 2, side)


def centre_box(height: int, width: int) -> Box:
    """The crop of evaluation: the whole short side, in the centre."""
    return crop_box(height, width, 1.0, "centre")


def training_boxes(height: int, width: int, scales: Iterable[float], positions: str) -> list[Box]:
    """The crops that training draws from, all equally likely.

    Args:
        height: Of the frame, in pixels.
        width: Of the frame, in pixels.
        scales: Shares of the short side.
        positions: `corners` for the four corners and the centre, or `centre`.
    """
    names = tuple(POSITIONS) if positions == "corners" else ("centre",)
    return [crop_box(height, width, scale, name) for scale in scales for name in names]

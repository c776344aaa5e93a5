"""The stage of the embedded dataset: a figure's limbs as the camera sees them, and the room behind.

Coordinates are rounded to 1/64 pixel and textures to 1/256 before they are used, so that the last bit of a sine, which
differs between processors, changes no picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kresp3d.datasets.synthetic.figure import Array, Colour, Draw, Part

Image = NDArray[np.float32]

#: Distance of the camera, in body heights.
_DISTANCE = 6.0


@dataclass(frozen=True, slots=True)
class View:
    """Limbs as the camera sees them, in body heights: x to the right, y down, depth away from the camera."""

    start: Array
    """`[P, T, 3]`, x, y and depth of one end of each of `P` limbs."""
    end: Array
    radii: Array
    """`[P, T, 2]`."""
    colours: Image
    """`[P, 3]`."""

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of everything, over all moments."""
        reach = self.radii[..., :1], self.radii[..., 1:]
        low = np.minimum(self.start[..., :2] - reach[0], self.end[..., :2] - reach[1])
        high = np.maximum(self.start[..., :2] + reach[0], self.end[..., :2] + reach[1])
        left, top = low.min(axis=(0, 1))
        right, bottom = high.max(axis=(0, 1))
        return float(left), float(top), float(right), float(bottom)


def look(parts: Sequence[Part], yaw: float, pitch: float) -> View:
    """Project limbs with slight perspective.

    Args:
        parts: The limbs, in body axes.
        yaw: Where the person faces: 0 into the camera, a quarter turn to the right of the picture.
        pitch: How far the camera looks down.
    """
    start, end = (np.stack([getattr(part, end) for part in parts]) for end in ("start", "end"))
    radii = np.array([part.radii for part in parts])[:, None]
    seen = []
    scales = []
    for point in (start, end):
        x, y, z = point[..., 0], point[..., 1], point[..., 2] - 0.5
        right = x * math.sin(yaw) + y * math.cos(yaw)
        away = y * math.sin(yaw) - x * math.cos(yaw)
        up = z * math.cos(pitch) + away * math.sin(pitch)
        depth = away * math.cos(pitch) - z * math.sin(pitch)
        scale = _DISTANCE / (_DISTANCE + depth)
        seen.append(np.stack([right * scale, -up * scale, depth], axis=-1))
        scales.append(scale)
    colours = np.array([part.colour for part in parts], dtype=np.float32)
    return View(seen[0], seen[1], radii * np.stack(scales, axis=-1), colours)


@dataclass(frozen=True, slots=True)
class Layer:
    """A figure on a clear ground, cut out closely, for each of `T` frames."""

    corner: NDArray[np.int64]
    """`[T, 2]`, x and y of the cut-out in the picture."""
    colour: Image
    """`[T, h, w, 3]`, already multiplied by `alpha`."""
    alpha: Image
    """`[T, h, w, 1]`."""


def draw_figure(view: View, scale: float, centre: Array, light: tuple[float, float]) -> Layer:
    """Draw limbs as shaded round cones, the nearer over the farther, with smooth edges.

    Args:
        view: The limbs.
        scale: Pixels in a body height.
        centre: `[T, 2]`, where the figure's origin is in the picture, in pixels.
        light: Where the light comes from, as a shade across the picture and down it.
    """
    corner = np.floor(centre).astype(np.int64)
    inside = centre - corner
    ends = []
    for point in (view.start, view.end):
        place = point * scale
        place[..., :2] += inside
        ends.append(_rounded(place))
    radii = _rounded(np.maximum(view.radii * scale, 0.6))
    boxes = _boxes(ends[0], ends[1], radii)
    left, top = boxes[:, 0].min(), boxes[:, 1].min()
    right, bottom = boxes[:, 2].max(), boxes[:, 3].max()
    shape = (len(centre), int(bottom - top), int(right - left))
    colour = np.zeros((3, *shape), dtype=np.float32)
    alpha = np.zeros(shape, dtype=np.float32)
    nearest = np.full(shape, np.inf, dtype=np.float32)
    for part, box in enumerate(boxes):
        window = (slice(None), slice(box[1] - top, box[3] - top), slice(box[0] - left, box[2] - left))
        cover, shade, depth = _round_cone(ends[0][part], ends[1][part], radii[part], box, light)
        under = alpha[window]
        front = depth < nearest[window]
        keep = np.where(front, 1 - cover, np.float32(1))
        add = np.where(front, cover, (1 - under) * cover)
        for channel in range(3):
            plane = colour[channel][window]
            plane *= keep
            plane += add * (shade * view.colours[part, channel])
        under *= keep
        under += add
        np.copyto(nearest[window], depth, where=front & (cover > 0.5))
    return Layer(corner + np.array([left, top]), np.ascontiguousarray(np.moveaxis(colour, 0, -1)), alpha[..., None])


def _rounded(values: Array) -> Image:
    return (np.round(values * 64) / 64).astype(np.float32)


def _boxes(start: Image, end: Image, radii: Image) -> NDArray[np.int64]:
    """The pixels `[P, 4]` (left, top, right, bottom) that a limb touches in any frame."""
    low = np.minimum(start[..., :2] - radii[..., :1], end[..., :2] - radii[..., 1:]).min(axis=1)
    high = np.maximum(start[..., :2] + radii[..., :1], end[..., :2] + radii[..., 1:]).max(axis=1)
    return np.concatenate([np.floor(low) - 1, np.ceil(high) + 1], axis=1).astype(np.int64)


def _round_cone(
    start: Image, end: Image, radii: Image, box: NDArray[np.int64], light: tuple[float, float]
) -> tuple[Image, Image, Image]:
    """Cover (0 to 1), brightness and depth `[T, h, w]` of one limb in the pixels of `box`."""

    def moments(values: Image) -> Image:
        return values[:, None, None]

    along = end - start
    half = np.float32(0.5)
    x = np.arange(box[0], box[2], dtype=np.float32) + half - moments(start[:, 0])
    y = np.arange(box[1], box[3], dtype=np.float32)[:, None] + half - moments(start[:, 1])
    length = np.maximum(along[:, 0] * along[:, 0] + along[:, 1] * along[:, 1], np.float32(1e-4))
    share = np.clip(x * moments(along[:, 0] / length) + y * moments(along[:, 1] / length), 0, 1)
    x = x - share * moments(along[:, 0])
    y = y - share * moments(along[:, 1])
    radius = moments(radii[:, 0]) + share * moments(radii[:, 1] - radii[:, 0])
    square = x * x + y * y
    cover = np.clip(radius - np.sqrt(square) + half, 0, 1)
    across = np.minimum(square / (radius * radius), 1)
    slope = (x * np.float32(light[0]) + y * np.float32(light[1])) / radius
    shade = np.float32(1.04) - np.float32(0.36) * across + slope
    bulge = radius * np.sqrt(1 - across)
    depth = moments(start[:, 2]) + share * moments(along[:, 2]) - bulge
    # NumPy's stubs lose the width of a float.
    return cast(tuple[Image, Image, Image], (cover, shade, depth))


@dataclass(frozen=True, slots=True)
class Room:
    """A picture of a wall and a floor that repeats itself sideways."""

    picture: Image
    """`[height, period, 3]`, 0 to 1, with `edge` rows more than a frame above and below."""
    edge: int


def draw_room(draw: Draw, height: int, width: int, floor: float, avoid: Sequence[Colour]) -> Room:
    """A room at random.

    Args:
        draw: Random numbers.
        height: Of a frame, in pixels.
        width: Of a frame.
        floor: Where the floor begins, in pixels from the top of a frame.
        avoid: Colours of the figure, from which wall and floor keep away.
    """
    edge = max(4, height // 12)
    rows, period = height + 2 * edge, 2 * width
    wall, ground = (_base(draw, avoid) for _ in range(2))
    picture = np.empty((rows, period, 3), dtype=np.float32)
    horizon = round(floor) + edge
    for part, base, squeeze in ((slice(0, horizon), wall, 1.0), (slice(horizon, rows), ground, 0.4)):
        surface = _texture(draw, rows, period, height, squeeze)[part]
        picture[part] = np.array(base, dtype=np.float32) + surface[..., None]
    for _ in range(int(draw.rng.integers(1, 5))):
        _furnish(draw, picture, height, horizon)
    skirting = max(1, height // 48)
    picture[horizon - skirting : horizon] *= np.float32(draw.pick((0.7, 1.0, 1.2)))
    return Room(np.round(np.clip(picture, 0.02, 0.98) * 256) / np.float32(256), edge)


def _base(draw: Draw, avoid: Sequence[Colour]) -> Colour:
    """The one of a few pale colours that is farthest from all colours to avoid."""
    best, best_gap = (0.5, 0.5, 0.5), -1.0
    for _ in range(4):
        level = draw.uniform(0.22, 0.82)
        colour = (level + draw.uniform(-0.07, 0.07), level + draw.uniform(-0.05, 0.05), level + draw.uniform(-0.1, 0.1))
        gap = min(sum((a - b) * (a - b) for a, b in zip(colour, other, strict=True)) for other in avoid)
        if gap > best_gap:
            best, best_gap = colour, gap
    return best


def _texture(draw: Draw, rows: int, period: int, height: int, squeeze: float) -> Image:
    """Brightness `[rows, period]` around 0: noise, stripes, checks or a gradient, with finer noise over it."""
    strength = draw.uniform(0.03, 0.10)
    cells = draw.pick((4, 8, 12))
    kind = draw.pick(("noise", "stripes", "bands", "checks", "gradient"))
    # Widths divide the period, so that the wall meets itself.
    columns = np.arange(period) * (2 * cells) // period
    lines = np.arange(rows) * cells // max(1, round(height * 0.75 * squeeze))
    if kind == "stripes":
        surface = np.broadcast_to((columns % 2).astype(np.float32) - 0.5, (rows, period))
    elif kind == "bands":
        surface = np.broadcast_to((lines % 2).astype(np.float32)[:, None] - 0.5, (rows, period))
    elif kind == "checks":
        surface = ((columns + lines[:, None]) % 2).astype(np.float32) - 0.5
    elif kind == "gradient":
        surface = np.broadcast_to(np.linspace(1.5, -1.5, rows, dtype=np.float32)[:, None], (rows, period))
    else:
        surface = 1.6 * _smooth_noise(draw, rows, period, cells)
    fine = _smooth_noise(draw, rows, period, 24)
    return (np.float32(strength) * (surface + np.float32(0.5) * fine)).astype(np.float32)


def _smooth_noise(draw: Draw, rows: int, period: int, cells: int) -> Image:
    """Random numbers in -1…1 on a grid of `cells` columns, joined smoothly; meets itself sideways."""
    lines = max(2, -(-rows * cells // period)) + 2
    grid = (draw.rng.integers(-128, 129, size=(lines, cells)) / 128).astype(np.float32)
    y, x = np.arange(rows) * cells / period, np.arange(period) * cells / period

    def blend(place: Array) -> tuple[NDArray[np.int64], Image]:
        whole = np.floor(place).astype(np.int64)
        share = place - whole
        return whole, (share * share * (3 - 2 * share)).astype(np.float32)

    row, down = blend(y)
    column, along = blend(x)
    grid = grid[row] + (grid[row + 1] - grid[row]) * down[:, None]
    left, right = grid[:, column], grid[:, (column + 1) % cells]
    return np.asarray(left + (right - left) * along, dtype=np.float32)


def _furnish(draw: Draw, picture: Image, height: int, horizon: int) -> None:
    """Put a framed rectangle on the wall: a picture, a window, a door or a cupboard."""
    period = picture.shape[1]
    wide = round(height * draw.uniform(0.12, 0.40))
    left = int(draw.rng.integers(0, max(1, period - wide)))
    tall = round(height * draw.uniform(0.15, 0.45))
    bottom = horizon if draw.chance(0.5) else max(tall + 1, round(horizon * draw.uniform(0.4, 0.7)))
    top = max(0, bottom - tall)
    shade = np.array([draw.uniform(-0.14, 0.14) for _ in range(3)], dtype=np.float32)
    frame = max(1, height // 60)
    picture[top:bottom, left : left + wide] += np.float32(draw.pick((-0.15, 0.15)))
    picture[top + frame : bottom - frame, left + frame : left + wide - frame] += shade


def compose(room: Room, camera: Array, layer: Layer, size: tuple[int, int]) -> Image:
    """Frames `[T, H, W, 3]`, 0 to 1: the room as the camera moves, and the figure before it.

    Args:
        room: The room.
        camera: `[T, 2]`, x and y of the frame's corner in the room, in pixels.
        layer: The figure, in pixels of the frame.
        size: Height and width of a frame.
    """
    height, width = size
    period = room.picture.shape[1]
    camera = np.round(camera * 64) / 64
    whole = np.floor(camera).astype(np.int64)
    share = (camera - whole).astype(np.float32)
    frames = np.empty((len(camera), height, width, 3), dtype=np.float32)
    columns = np.arange(width + 1)
    for t, frame in enumerate(frames):
        top = int(np.clip(whole[t, 1] + room.edge, 0, len(room.picture) - height - 1))
        seen = room.picture[top : top + height + 1].take((columns + whole[t, 0]) % period, axis=1)
        seen = seen[:, :-1] + (seen[:, 1:] - seen[:, :-1]) * share[t, 0]
        frame[:] = seen[:-1] + (seen[1:] - seen[:-1]) * share[t, 1]
        x, y = layer.corner[t]
        tall, wide = layer.alpha.shape[1:3]
        rows = slice(max(0, -y), min(tall, height - y))
        across = slice(max(0, -x), min(wide, width - x))
        place = frame[max(0, y) : y + tall, max(0, x) : x + wide]
        place *= 1 - layer.alpha[t, rows, across]
        place += layer.colour[t, rows, across]
    return frames

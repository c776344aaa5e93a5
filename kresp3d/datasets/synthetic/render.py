"""Rendering of the embedded dataset: an articulated figure doing ten actions that differ by motion, not by look.

    person, action, take ──perform──▶ pose ──build──▶ limbs ──look, draw──▶ figure ─┐
                                                      room, camera, light ──────────┴─compose──▶ frames

A video is a pure function of the configuration, the subject, the action and the take.
"""

from __future__ import annotations

import difflib
import math

import numpy as np
from numpy.typing import NDArray

from kresp3d.config.schema import SyntheticConfig
from kresp3d.datasets.synthetic.figure import Array, Draw, Person, Pose, build
from kresp3d.datasets.synthetic.motions import MOTIONS, perform
from kresp3d.datasets.synthetic.scene import Image, View, compose, draw_figure, draw_room, look
from kresp3d.system.errors import UsageError

ACTIONS: tuple[str, ...] = tuple(sorted(MOTIONS))

#: Grows whenever the same arguments give other pictures than before.
RENDERER = 1


def frame_size(config: SyntheticConfig) -> tuple[int, int]:
    """Height and width of the videos, in pixels; both even, as H.264 needs them."""
    return config.size, 2 * round(config.size * 2 / 3)


def frame_count(config: SyntheticConfig) -> int:
    """Frames in a video."""
    return max(1, round(config.seconds * config.fps))


def render_video(action: str, *, subject: int, take: int, config: SyntheticConfig) -> NDArray[np.uint8]:
    """Render one video.

    The subject determines build, clothes and way of moving; the take everything else: place, direction, starting
    phase, room, camera and light. The whole figure is in the centre square of every frame.

    Args:
        action: One of `ACTIONS`.
        subject: Number of the person, from 1.
        take: Number of the repetition, from 1.
        config: Size, length, frame rate and seed. How many subjects and videos there are makes no difference.

    Returns:
        uint8 `[T, H, W, 3]`, RGB.

    Raises:
        UsageError: If there is no such action, or `subject` or `take` is below 1.
    """
    if action not in ACTIONS:
        near = difflib.get_close_matches(action, ACTIONS, n=1)
        raise UsageError(f"unknown action {action!r}: expected one of {', '.join(near or ACTIONS)}")
    for name, value in (("subject", subject), ("take", take)):
        if value < 1:
            raise UsageError(f"{name} must be 1 or more, received {value}")
    person = Person.draw(Draw(config.seed, 0, subject))
    draw = Draw(config.seed, 1, subject, ACTIONS.index(action), take)
    height, width = frame_size(config)
    times = np.arange(frame_count(config)) / config.fps
    pose = perform(action, times, person, draw)
    yaw = math.radians(draw.uniform(22, 60)) * draw.pick((1.0, -1.0))
    pitch = math.radians(draw.uniform(2, 14))
    moved = _follow(pose, yaw, times, draw)
    view = look(build(person, pose), yaw, pitch)
    shake = _shake(draw, times) * height
    scale, path = _place(view, draw, height, width, shake, moved)

    camera = shake.copy()
    camera[:, 0] += draw.uniform(0, 2 * width) + moved * scale - (path[:, 0] - path[0, 0])
    feet = float(path[0, 1]) + 0.5 * scale * math.cos(pitch)
    clear_of = (person.skin, person.shirt, person.trousers, person.hair)
    room = draw_room(draw, height, width, feet - scale * draw.uniform(0.02, 0.25), clear_of)
    light = (draw.uniform(-0.14, 0.14), draw.uniform(-0.16, 0.02))
    frames = compose(room, camera, draw_figure(view, scale, path - shake, light), (height, width))
    return _expose(frames, draw, times)


def _follow(pose: Pose, yaw: float, times: Array, draw: Draw) -> Array:
    """How far the figure goes through the room towards the right of the picture, in body heights `[T]`.

    A figure that goes somewhere is followed by the camera in one half of the videos. In the other half walkers tread on
    the spot, and side-steppers cross the picture.
    """
    followed = draw.chance(0.5)
    if pose.speed:
        return pose.speed * math.sin(yaw) * times * followed
    if not followed:
        return np.zeros_like(times)
    moved, pose.shift = pose.shift * math.cos(yaw), np.zeros_like(times)
    return moved


def _place(view: View, draw: Draw, height: int, width: int, shake: Array, moved: Array) -> tuple[float, Array]:
    """Size and way of the figure in the picture, so that it stays within the centre square.

    Returns:
        Pixels in a body height, and the figure's origin `[T, 2]` in pixels were the camera held still.
    """
    left, top, right, bottom = view.bounds()
    margin = 1.5 + float(np.abs(shake).max())
    room = height - 2 * margin
    scale = min(height * draw.uniform(0.62, 0.80), room / (bottom - top), room / (right - left))
    spare_x, spare_y = room - scale * (right - left), room - scale * (bottom - top)
    # The camera pans, or does not quite keep up with a figure that goes somewhere.
    way = 1.0 if moved[-1] > 0.5 else -1.0 if moved[-1] < -0.5 else draw.pick((1.0, -1.0))
    slide = way * min(spare_x, height * draw.uniform(0.0, 0.18))
    x = (width - height) / 2 + margin + draw.uniform(0.25, 0.75) * (spare_x - abs(slide)) - left * scale
    y = margin + draw.uniform(0.3, 1.0) * spare_y - top * scale
    path = np.empty_like(shake)
    path[:, 0] = x + max(0.0, -slide) + slide * np.linspace(0.0, 1.0, len(path))
    path[:, 1] = y
    return scale, path


def _shake(draw: Draw, times: Array) -> Array:
    """Unsteadiness of a camera in the hand, `[T, 2]`, as a share of the picture's height."""
    strength = draw.uniform(0.001, 0.007) if draw.chance(0.7) else 0.0
    shake = np.zeros((len(times), 2))
    for axis in (0, 1):
        for low, high in ((0.3, 0.8), (1.0, 2.5)):
            turn = draw.uniform(low, high) * times + draw.uniform(0.0, 1.0)
            shake[:, axis] += strength * np.sin(2 * math.pi * turn)
    return shake


def _expose(frames: Image, draw: Draw, times: Array) -> NDArray[np.uint8]:
    """Frames 0 to 1 as a camera takes them: light that changes slowly, a tint, and noise."""
    turn = draw.uniform(0.05, 0.3) * times + draw.uniform(0.0, 1.0)
    light = draw.uniform(0.85, 1.08) + draw.uniform(0.0, 0.06) * np.sin(2 * math.pi * turn)
    tint = np.array([draw.uniform(0.95, 1.05) for _ in range(3)])
    gain = np.round(light[:, None] * tint * 1024) / 1024
    frames *= (255 * gain).astype(np.float32)[:, None, None]
    grain = int(draw.rng.integers(2, 6))
    noise = draw.rng.integers(0, 2 * grain + 1, size=(*frames.shape[:3], 1), dtype=np.uint8)
    frames += noise
    frames -= np.float32(grain - 0.5)
    return np.clip(frames, 0, 255, out=frames).astype(np.uint8)

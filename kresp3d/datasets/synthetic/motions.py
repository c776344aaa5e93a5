"""The ten actions of the embedded dataset, as poses over time.

An action is a function of its phase, in repeats: poses recur when the phase grows by one. What an action
leaves open (where the hands of a clap are, how idle arms are carried) is drawn anew for each video, so that the
actions share their poses and differ in how they move.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from kresp3d.datasets.synthetic.figure import Array, Draw, Person, Pose, reach, swing

_TURN = 2 * math.pi


def _wave(phase: Array) -> Array:
    """From 0 at whole phases up to 1 and back."""
    return 0.5 - 0.5 * np.cos(_TURN * phase)


def _bump(phase: Array, centre: float, width: float) -> Array:
    """Once in a repeat, from 0 up to 1 at `centre` and back, over `width` of the repeat."""
    distance = (phase - centre + 0.5) % 1.0 - 0.5
    return np.where(np.abs(distance) < width / 2, 0.5 + 0.5 * np.cos(_TURN * distance / width), 0.0)


def _step(phase: Array, start: float, end: float) -> Array:
    """From 0 to 1, smoothly, between two points of a repeat."""
    share = np.clip((phase % 1.0 - start) / (end - start), 0.0, 1.0)
    return share * share * (3 - 2 * share)


def _radians(draw: Draw, low: float, high: float) -> float:
    return math.radians(draw.uniform(low, high))


def _place(pose: Pose, side: int, hand: list[Array | float], elbow: tuple[float, float, float]) -> None:
    points = np.stack(np.broadcast_arrays(*hand, pose.lean)[:3], axis=-1)
    pose.upper[:, side], pose.fore[:, side] = reach(points, elbow)


def _carry(pose: Pose, draw: Draw, sides: tuple[int, ...] = (0, 1)) -> None:
    """Hold idle arms in one of several ways."""
    way = draw.pick(("hang", "hang", "bent", "hips", "guard"))
    for side in sides:
        if way == "bent":
            angles = np.zeros_like(pose.lean)
            pose.upper[:, side], pose.fore[:, side] = swing(angles - 0.15, angles + 1.5)
        elif way == "hips":
            _place(pose, side, [0.05, 0.0, -0.70], (-0.4, 1.0, 0.0))
        elif way == "guard":
            _place(pose, side, [0.32, -0.15, -0.10], (-0.1, 0.4, -1.0))


def bend(phase: Array, person: Person, draw: Draw) -> Pose:
    """Bow down towards the floor and come up again."""
    pose = Pose.standing(len(phase), person)
    down = np.clip(1.35 * _wave(phase) - 0.18, 0.0, 1.0)
    pose.lean = pose.lean + down * _radians(draw, 75, 100) * person.amplitude
    pose.hip = pose.hip + down[:, None] * -0.10
    pose.knee = pose.knee + down[:, None] * draw.uniform(0.0, 0.25)
    # The arms hang from the leaning trunk, or reach ahead of it.
    ahead = pose.lean + draw.uniform(-0.1, 0.3)
    flexion = np.full_like(ahead, person.elbow)
    for side in (0, 1):
        pose.upper[:, side], pose.fore[:, side] = swing(ahead, flexion)
    return pose


def box(phase: Array, person: Person, draw: Draw) -> Pose:
    """Punch forward, left and right in turn."""
    pose = Pose.standing(len(phase), person)
    pose.knee = pose.knee + 0.25 + 0.12 * _wave(2 * phase)[:, None]
    lead = draw.pick((1.0, -1.0)) * draw.uniform(0.05, 0.3)
    pose.hip = pose.hip + 0.18 + lead * np.array([1.0, -1.0])
    height = draw.uniform(-0.25, 0.10)
    left, right = _bump(phase, 0.25, 0.48), _bump(phase, 0.75, 0.48)
    pose.twist = _radians(draw, 10, 25) * (right - left)
    pose.lean = pose.lean + 0.08
    guard = draw.uniform(0.20, 0.34)
    length = 0.64 * person.amplitude
    for side, punch in enumerate((left, right)):
        _place(pose, side, [guard + length * punch, -0.12 - 0.15 * punch, -0.08 + height * punch], (-0.2, 0.5, -1.0))
    return pose


def clap(phase: Array, person: Person, draw: Draw) -> Pose:
    """Bring the hands together and apart, before the chest or above it."""
    pose = Pose.standing(len(phase), person)
    meet = -person.shoulder / (2 * person.arm) + 0.05
    apart = _wave(phase) * draw.uniform(0.50, 0.70) * person.amplitude
    height = draw.uniform(-0.35, 0.65)
    ahead = math.sqrt(max(0.52 - height * height, 0.06))
    for side in (0, 1):
        _place(pose, side, [ahead - 0.3 * apart, meet + apart, height], (-0.3, 0.8, -0.8))
    pose.knee = pose.knee + 0.08 * _wave(phase)[:, None]
    return pose


def jump(phase: Array, person: Person, draw: Draw) -> Pose:
    """Crouch and jump up with both feet, on the spot."""
    pose = Pose.standing(len(phase), person)
    crouch = 0.9 * _bump(phase, 0.22, 0.40) + 0.6 * _bump(phase, 0.86, 0.26)
    crouch = crouch * draw.uniform(0.8, 1.1) * person.amplitude
    share = (phase % 1.0 - 0.40) / 0.38
    flight = np.where((share > 0) & (share < 1), 4 * share * (1 - share), 0.0)
    pose.hop = flight * draw.uniform(0.13, 0.20) * person.amplitude
    pose.hip = pose.hip + 0.75 * crouch[:, None]
    pose.knee = pose.knee + 1.30 * crouch[:, None] + draw.uniform(0.0, 0.6) * flight[:, None]
    pose.lean = pose.lean + 0.45 * crouch
    if draw.chance(0.75):
        height = _radians(draw, 40, 170)
        pitch = height * _bump(phase, 0.57, 0.60) - 0.7 * crouch
        elbow = np.full_like(pitch, draw.uniform(0.2, 0.7))
        for side in (0, 1):
            pose.upper[:, side], pose.fore[:, side] = swing(pitch, elbow)
    else:
        _carry(pose, draw)
    return pose


def jumping_jack(phase: Array, person: Person, draw: Draw) -> Pose:
    """Hop the legs apart while the arms go up sideways, and back."""
    pose = Pose.standing(len(phase), person)
    out = np.clip(1.2 * _wave(phase) - 0.1, 0.0, 1.0)
    pose.spread = pose.spread + out[:, None] * _radians(draw, 20, 28) * person.amplitude
    pose.hop = draw.uniform(0.03, 0.06) * _wave(2 * phase + 0.25)
    pose.knee = pose.knee + 0.3 * (1 - _wave(2 * phase + 0.25))[:, None]
    pose.hip = pose.hip + 0.14 * (1 - _wave(2 * phase + 0.25))[:, None]
    raised = 0.15 + out * _radians(draw, 115, 165) * person.amplitude
    bend_angle = draw.uniform(0.05, 0.35)
    upper = np.stack([0 * raised + 0.08, np.sin(raised), -np.cos(raised)], axis=-1)
    fore = np.stack([0 * raised + 0.12, np.sin(raised + bend_angle), -np.cos(raised + bend_angle)], axis=-1)
    pose.upper[:], pose.fore[:] = upper[:, None], fore[:, None]
    return pose


def side_step(phase: Array, person: Person, draw: Draw) -> Pose:
    """Two steps to one side, two back: one foot goes out, the other follows."""
    pose = Pose.standing(len(phase), person)
    stride = draw.uniform(0.26, 0.34) * person.amplitude
    # A repeat is four steps; the way back mirrors the way out.
    there = (phase % 1.0) < 0.5
    steps = 4 * (phase % 1.0)
    first, second = _step(steps, 0.0, 0.5), _step(steps, 0.5, 1.0)
    gone = np.floor(steps) + (first + second) / 2
    pose.shift = stride * (np.minimum(gone, 4 - gone) - 1)
    apart = (first - second) * stride / (2 * (person.thigh + person.shin))
    pose.spread = pose.spread + np.arcsin(np.clip(apart, 0.0, 0.6))[:, None]
    lifts = (_bump(steps, 0.25, 0.5), _bump(steps, 0.75, 0.5))
    left, right = np.where(there, lifts[0], lifts[1]), np.where(there, lifts[1], lifts[0])
    lift = np.stack([left, right], axis=-1) * draw.uniform(0.35, 0.6)
    pose.hip = pose.hip + 0.55 * lift + 0.08
    pose.knee = pose.knee + lift + 0.16
    pose.side = 0.05 * (left - right)
    _carry(pose, draw)
    pose.planted = False
    return pose


def wave(phase: Array, person: Person, draw: Draw) -> Pose:
    """Swing a raised hand, or both, from side to side."""
    pose = Pose.standing(len(phase), person)
    waving = draw.pick(((0,), (1,), (0,), (1,), (0, 1)))
    if len(waving) == 1:
        _carry(pose, draw, (1 - waving[0],))
    raise_by, width = draw.uniform(-0.1, 0.9), _radians(draw, 28, 42) * person.amplitude
    angle = width * np.sin(_TURN * phase) + draw.uniform(-0.1, 0.15)
    for side in waving:
        upper = np.array([0.25, 0.9 - 0.35 * raise_by, raise_by])
        pose.upper[:, side] = upper / math.sqrt(float(upper[0] ** 2 + upper[1] ** 2 + upper[2] ** 2))
        pose.fore[:, side] = np.stack([0 * angle + 0.15, np.sin(angle), np.cos(angle)], axis=-1) / math.sqrt(1.0225)
    pose.side = 0.04 * np.sin(_TURN * phase)
    return pose


def _gait(
    phase: Array, person: Person, *, stride: float, ahead: float, knee: float, lift: float, arms: float, elbow: float
) -> Pose:
    """Legs and arms in turn. A repeat begins when the left foot is farthest ahead.

    Args:
        phase: Repeats of two steps.
        person: Who moves.
        stride: Swing of the thighs to either side of `ahead`.
        ahead: Mean angle of the thighs.
        knee: Flexion of the knee that bears the weight.
        lift: Flexion of the other knee on its way forward.
        arms: Swing of the upper arms.
        elbow: Flexion of the elbows.
    """
    pose = Pose.standing(len(phase), person)
    for side, own in enumerate((phase, phase + 0.5)):
        cos = np.cos(_TURN * own)
        pose.hip[:, side] = ahead + stride * person.amplitude * cos
        pose.knee[:, side] = knee + lift * _bump(own, 0.72, 0.56) + 0.2 * _bump(own, 0.15, 0.3)
        pitch = -arms * person.amplitude * cos - 0.1
        pose.upper[:, side], pose.fore[:, side] = swing(pitch, elbow + 0.3 * (pitch + arms))
    pose.twist = 0.35 * arms * np.cos(_TURN * phase)
    pose.planted = False
    return pose


def walk(phase: Array, person: Person, draw: Draw) -> Pose:
    """Walk."""
    pose = _gait(
        phase, person, stride=_radians(draw, 21, 28), ahead=_radians(draw, 2, 6), knee=_radians(draw, 3, 8),
        lift=_radians(draw, 45, 58), arms=_radians(draw, 15, 35), elbow=_radians(draw, 10, 70),
    )  # fmt: skip
    pose.lean = pose.lean + draw.uniform(0.0, 0.08)
    pose.speed = draw.uniform(0.65, 0.85)
    return pose


def jog(phase: Array, person: Person, draw: Draw) -> Pose:
    """Run slowly: short steps, feet low, a bounce on each."""
    pose = _gait(
        phase, person, stride=_radians(draw, 19, 25), ahead=_radians(draw, 10, 15), knee=_radians(draw, 18, 26),
        lift=_radians(draw, 58, 75), arms=_radians(draw, 15, 30), elbow=_radians(draw, 50, 95),
    )  # fmt: skip
    pose.hop = draw.uniform(0.035, 0.055) * _wave(2 * phase + 0.6)
    pose.lean = pose.lean + draw.uniform(0.02, 0.12)
    pose.speed = draw.uniform(1.0, 1.3)
    return pose


def run(phase: Array, person: Person, draw: Draw) -> Pose:
    """Run fast: long steps, heels high behind."""
    pose = _gait(
        phase, person, stride=_radians(draw, 38, 46), ahead=_radians(draw, 12, 20), knee=_radians(draw, 16, 24),
        lift=_radians(draw, 88, 105), arms=_radians(draw, 38, 55), elbow=_radians(draw, 70, 100),
    )  # fmt: skip
    pose.hop = draw.uniform(0.04, 0.07) * _wave(2 * phase + 0.6)
    pose.lean = pose.lean + draw.uniform(0.05, 0.20)
    pose.speed = draw.uniform(1.9, 2.4)
    return pose


#: Every action: its poses, and the range of its tempo in repeats a second.
MOTIONS: dict[str, tuple[Callable[[Array, Person, Draw], Pose], tuple[float, float]]] = {
    "bend": (bend, (0.42, 0.60)),
    "box": (box, (0.80, 1.15)),
    "clap": (clap, (1.30, 2.00)),
    "jog": (jog, (1.20, 1.40)),
    "jump": (jump, (0.70, 0.95)),
    "jumping-jack": (jumping_jack, (0.80, 1.10)),
    "run": (run, (1.50, 1.75)),
    "side-step": (side_step, (0.38, 0.52)),
    "walk": (walk, (0.80, 1.00)),
    "wave": (wave, (1.10, 1.70)),
}


def perform(action: str, times: Array, person: Person, draw: Draw) -> Pose:
    """The pose of a person doing an action at `times [T]`, in seconds, from a random phase on.

    Raises:
        KeyError: If there is no such action.
    """
    motion, (slow, fast) = MOTIONS[action]
    tempo = draw.uniform(slow, fast) * person.tempo
    drift = 0.04 * np.sin(_TURN * (draw.uniform(0.15, 0.3) * times + draw.uniform(0.0, 1.0)))
    phase = draw.uniform(0.0, 1.0) + tempo * times + drift
    pose = motion(phase, person, draw)
    sway = _TURN * (draw.uniform(0.2, 0.5) * times + draw.uniform(0.0, 1.0))
    pose.lean = pose.lean + 0.02 * np.sin(sway)
    pose.side = pose.side + 0.02 * np.cos(0.7 * sway)
    return pose

"""The articulated figure of the embedded dataset: a person's build, and joints in space from the angles of a pose.

Body axes: x forward, y to the person's left, z up; lengths are shares of the standing height, angles are radians.
Only elementwise arithmetic is used, so that another BLAS or another processor gives the same picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]
T = TypeVar("T")

#: +1 for the left side of the body, -1 for the right; the order of every axis of length two in a pose.
SIDES = (1.0, -1.0)

_ANKLE = 0.04
_HAND = 0.028

_SKIN: tuple[Colour, ...] = (
    (0.96, 0.80, 0.69), (0.89, 0.69, 0.55), (0.78, 0.57, 0.42), (0.62, 0.43, 0.30), (0.46, 0.31, 0.22),
)  # fmt: skip
_HAIR: tuple[Colour, ...] = (
    (0.10, 0.08, 0.07), (0.26, 0.16, 0.10), (0.45, 0.28, 0.15), (0.80, 0.66, 0.38), (0.60, 0.58, 0.56),
)  # fmt: skip
_CLOTH: tuple[Colour, ...] = (
    (0.84, 0.18, 0.18), (0.95, 0.55, 0.15), (0.95, 0.84, 0.25), (0.24, 0.62, 0.30), (0.13, 0.50, 0.52),
    (0.20, 0.38, 0.78), (0.13, 0.18, 0.42), (0.50, 0.26, 0.62), (0.88, 0.45, 0.62), (0.93, 0.93, 0.91),
    (0.50, 0.52, 0.55), (0.14, 0.14, 0.16), (0.46, 0.32, 0.22),
)  # fmt: skip


class Draw:
    """Random draws that depend on `key` alone."""

    def __init__(self, *key: int) -> None:
        self.rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))

    def uniform(self, low: float, high: float) -> float:
        """A number in `[low, high)`."""
        # Generator.uniform may fuse its multiply and add on some processors; this cannot.
        return low + (high - low) * float(self.rng.random())

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return float(self.rng.random()) < probability

    def pick(self, items: Sequence[T]) -> T:
        """One of the items, all equally likely."""
        return items[int(self.rng.integers(len(items)))]


@dataclass(frozen=True, slots=True)
class Person:
    """What one subject brings to all of their videos: build, clothes and way of moving."""

    thigh: float
    shin: float
    trunk: float
    arm: float
    """Length of the upper arm, and of the forearm."""
    shoulder: float
    """Half the distance between the shoulders."""
    hip: float
    head: float
    girth: float
    """Factor on the thickness of trunk and limbs."""
    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    long_sleeves: bool
    long_trousers: bool
    tempo: float
    amplitude: float
    lean: float
    elbow: float
    """How far the elbows bend by themselves when the arms hang."""

    @classmethod
    def draw(cls, draw: Draw) -> Person:
        """A person at random."""
        legs = draw.uniform(0.46, 0.50)
        knee = draw.uniform(0.49, 0.53)
        head = draw.uniform(0.064, 0.074)
        shirt = draw.pick(_CLOTH)
        trousers = draw.pick([colour for colour in _CLOTH if colour != shirt])
        return cls(
            thigh=legs * knee,
            shin=legs * (1 - knee),
            trunk=1 - _ANKLE - legs - 2.6 * head,
            arm=draw.uniform(0.175, 0.195),
            shoulder=draw.uniform(0.095, 0.120),
            hip=draw.uniform(0.050, 0.062),
            head=head,
            girth=draw.uniform(0.90, 1.25),
            skin=draw.pick(_SKIN),
            hair=draw.pick(_HAIR),
            shirt=shirt,
            trousers=trousers,
            shoes=draw.pick(_CLOTH),
            long_sleeves=draw.chance(0.5),
            long_trousers=draw.chance(0.7),
            tempo=draw.uniform(0.92, 1.08),
            amplitude=draw.uniform(0.90, 1.10),
            lean=draw.uniform(-0.03, 0.09),
            elbow=draw.uniform(0.10, 0.40),
        )


@dataclass(slots=True)
class Pose:
    """How the body is held at each of `T` moments; arrays that the actions fill in."""

    lean: Array
    """`[T]`, trunk forward."""
    side: Array
    """`[T]`, trunk to the left."""
    twist: Array
    """`[T]`, trunk turned to the left."""
    hip: Array
    """`[T, 2]`, thigh forward."""
    spread: Array
    """`[T, 2]`, leg outward."""
    knee: Array
    """`[T, 2]`, flexion."""
    upper: Array
    """`[T, 2, 3]`, direction of the upper arm in the trunk's axes, y outward."""
    fore: Array
    """`[T, 2, 3]`, direction of the forearm likewise."""
    hop: Array
    """`[T]`, height of the lower foot above the floor."""
    shift: Array
    """`[T]`, how far the body has gone to its left."""
    planted: bool = True
    """Whether the feet stay where they are, so that the hips move over them."""
    speed: float = 0.0
    """Speed forward, in body heights a second, at which the floor passes below the feet."""

    @classmethod
    def standing(cls, count: int, person: Person) -> Pose:
        """Upright with hanging arms, for `count` moments."""
        zeros = np.zeros(count)
        upper, fore = swing(np.full((count, 2), 0.04), np.full((count, 2), person.elbow), outward=0.14)
        legs = np.zeros((count, 2))
        return cls(
            lean=zeros + person.lean,
            side=zeros.copy(),
            twist=zeros.copy(),
            hip=legs + 0.05,
            spread=legs + 0.05,
            knee=legs + 0.10,
            upper=upper,
            fore=fore,
            hop=zeros.copy(),
            shift=zeros.copy(),
        )


def swing(pitch: Array, elbow: Array, outward: float = 0.12) -> tuple[Array, Array]:
    """Directions `[..., 3]` of upper arm and forearm that swing beside the body.

    Args:
        pitch: Angle of the upper arm, forward from hanging.
        elbow: Flexion of the elbow, which brings the hand forward and up.
        outward: How far the upper arm stands off sideways.
    """
    upper = np.stack([np.sin(pitch), np.full_like(pitch, outward), -np.cos(pitch)], axis=-1)
    bend = pitch + elbow
    fore = np.stack([np.sin(bend), np.full_like(pitch, -outward), -np.cos(bend)], axis=-1)
    return _unit(upper), _unit(fore)


def reach(hand: Array, elbow: Sequence[float]) -> tuple[Array, Array]:
    """Directions of upper arm and forearm that bring the hand to a place.

    Args:
        hand: `[..., 3]`, from the shoulder, in lengths of the whole arm; x forward, y outward, z up.
        elbow: The direction to which the elbow points.
    """
    distance = np.sqrt(_dot(hand, hand))
    hand = hand * np.minimum(1.0, 0.995 / np.maximum(distance, 1e-6))[..., None]
    along = _unit(hand)
    pole = np.broadcast_to(np.asarray(elbow, dtype=np.float64), hand.shape)
    pole = _unit(pole - along * _dot(pole, along)[..., None])
    height = np.sqrt(np.maximum(0.25 - _dot(hand, hand) / 4, 0.0))
    joint = hand / 2 + pole * height[..., None]
    return _unit(joint), _unit(hand - joint)


def _dot(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def _unit(vector: Array) -> Array:
    return vector / np.sqrt(np.maximum(_dot(vector, vector), 1e-12))[..., None]


@dataclass(frozen=True, slots=True)
class Part:
    """A limb: a round cone between two joints, over all `T` moments."""

    start: Array
    """`[T, 3]`."""
    end: Array
    """`[T, 3]`."""
    radii: tuple[float, float]
    colour: Colour


def build(person: Person, pose: Pose) -> list[Part]:
    """The limbs of a person in a pose, standing at the origin on the floor `z = 0`."""
    legs = _legs(person, pose)
    ankles, toes = legs[2], legs[3]
    lowest = np.minimum(ankles[..., 2] - _ANKLE, toes[..., 2] - 0.018)
    root = np.zeros((len(pose.lean), 3))
    root[:, 2] = pose.hop - np.minimum(lowest[:, 0], lowest[:, 1])
    root[:, 1] = pose.shift
    if pose.planted:
        root[:, 0] = -(ankles[:, 0, 0] + ankles[:, 1, 0]) / 2
    thick, skin = person.girth, person.skin
    sleeve = person.shirt if person.long_sleeves else skin
    shin = person.trousers if person.long_trousers else skin

    def part(start: Array, end: Array, radii: tuple[float, float], colour: Colour) -> Part:
        return Part(start + root, end + root, radii, colour)

    def trunk(x: float, y: float, z: float) -> Array:
        return _turned(np.broadcast_to(np.array([x, y, z]), root.shape), pose)

    parts = []
    for side, sign in enumerate(SIDES):
        hip, knee, ankle, toe = (joint[:, side] for joint in legs)
        heel = ankle + (ankle - toe) * 0.25
        parts += [
            part(hip, knee, (0.058 * thick, 0.042 * thick), person.trousers),
            part(knee, ankle, (0.040 * thick, 0.028), shin),
            part(heel * 0.7 + toe * 0.3, toe, (0.026, 0.022), person.shoes),
        ]
        shoulder = trunk(0.0, sign * person.shoulder, person.trunk)
        mirror = np.array([1.0, sign, 1.0])
        elbow = shoulder + person.arm * _turned(pose.upper[:, side] * mirror, pose)
        hand = elbow + person.arm * _turned(pose.fore[:, side] * mirror, pose)
        wrist = elbow + (hand - elbow) * 0.92
        parts += [
            part(shoulder, elbow, (0.037 * thick, 0.030 * thick), person.shirt),
            part(elbow, wrist, (0.028 * thick, 0.023), sleeve),
            part(hand, hand, (_HAND, _HAND), skin),
            part(shoulder * 0.85 + trunk(0, 0, 0.15 * person.trunk), trunk(0, sign * person.hip * 0.8, 0.02),
                 (0.055 * thick, 0.056 * thick), person.shirt),
        ]  # fmt: skip
    top = person.trunk + 1.6 * person.head
    parts += [
        part(trunk(0, 0, person.trunk * 0.85), trunk(0, 0, 0.03), (0.070 * thick, 0.066 * thick), person.shirt),
        part(trunk(0, 0, 0.0), trunk(0, 0, -0.02), (0.068 * thick, 0.066 * thick), person.trousers),
        part(trunk(0, 0, person.trunk), trunk(0.01, 0, top), (0.034, 0.034), skin),
        part(trunk(0.012, 0, top - 0.02), trunk(0.012, 0, top), (person.head * 0.9, person.head * 0.95), skin),
        part(trunk(-0.022, 0, top + 0.005), trunk(-0.008, 0, top + 0.022), (person.head * 0.93,) * 2, person.hair),
    ]
    return parts


def _legs(person: Person, pose: Pose) -> tuple[Array, Array, Array, Array]:
    """Hips, knees, ankles and toes `[T, 2, 3]`, relative to the middle of the hips."""
    outward = np.array(SIDES)
    hips = np.zeros((*pose.hip.shape, 3))
    hips[..., 1] = outward * person.hip

    def direction(pitch: Array) -> Array:
        level = np.cos(pitch)
        return np.stack([np.sin(pitch), outward * np.sin(pose.spread) * level, -np.cos(pose.spread) * level], axis=-1)

    tilt = pose.hip - pose.knee
    knees = hips + person.thigh * direction(pose.hip)
    ankles = knees + person.shin * direction(tilt)
    # The foot is flat under a leg that leans back a little, and hangs from one that is lifted behind.
    foot = np.where(tilt < 0, 0.9 * np.minimum(tilt + 0.25, 0.0), 0.35 * tilt)
    toes = ankles + 0.105 * np.stack([np.cos(foot), 0.25 * outward + 0 * foot, np.sin(foot)], axis=-1)
    toes[..., 2] -= 0.018
    return hips, knees, ankles, toes


def _turned(vector: Array, pose: Pose) -> Array:
    """`vector [T, 3]` from the trunk's axes to the body's: twisted, then tilted sideways, then leaned forward."""
    x, y, z = vector[:, 0], vector[:, 1], vector[:, 2]
    cos, sin = np.cos(pose.twist), np.sin(pose.twist)
    x, y = x * cos - y * sin, x * sin + y * cos
    cos, sin = np.cos(pose.side), np.sin(pose.side)
    y, z = y * cos + z * sin, z * cos - y * sin
    cos, sin = np.cos(pose.lean), np.sin(pose.lean)
    x, z = x * cos + z * sin, z * cos - x * sin
    return np.stack([x, y, z], axis=-1)

"""Augmentation of whole clips."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kresp3d.clips.warp import affine, random_brightness, random_warp, warps
from kresp3d.config.schema import AugmentConfig

SIDE = 33
shares = st.floats(-0.5, 0.5)
factors = st.floats(0.5, 2.0)


def seeds(count: int) -> list[tf.Tensor]:
    return [tf.constant([7, number], tf.int64) for number in range(count)]


def blob(row: float, column: float) -> np.ndarray:
    """A clip of two frames with one round spot."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    spot = 255 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8)
    return np.repeat(np.rint(spot).astype(np.uint8)[None, ..., None], 2, axis=0).repeat(3, axis=-1)


def moments(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (column, row) and covariance of the light in a frame."""
    light = frame[..., 0].astype(float)
    places = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2)
    centre = np.average(places, axis=0, weights=light.ravel())
    return centre, np.cov(places.T, aweights=light.ravel(), bias=True)


@settings(deadline=None)
@given(angle=st.floats(-math.pi, math.pi), zoom=factors, stretch=factors, right=shares, down=shares)
def test_the_map_undoes_stretching_zooming_rotating_and_moving(angle, zoom, stretch, right, down):
    arguments = [tf.constant(value, tf.float32) for value in (SIDE, angle, zoom, stretch, right, down)]
    a, b, x, c, d, y, *rest = affine(*arguments).numpy()
    assert rest == [0, 0]
    size = np.diag([zoom * math.sqrt(stretch), zoom / math.sqrt(stretch)])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = (SIDE - 1) / 2
    for place in ([0.0, 0.0], [32.0, 5.0], [16.0, 16.0]):
        moved = turn @ size @ (np.array(place) - middle) + middle + SIDE * np.array([right, down])
        np.testing.assert_allclose([[a, b], [c, d]] @ moved + [x, y], place, atol=2e-3)


@pytest.mark.parametrize("name", ["translation", "zoom", "stretch", "rotation"])
def test_each_key_changes_what_it_is_named_after_up_to_its_limit(name):
    most = {"translation": 0.2, "zoom": 0.5, "stretch": 0.5, "rotation": 90.0}[name]
    augment = AugmentConfig(**{"translation": 0, "zoom": 0, name: most})
    assert warps(augment)
    column = 24.0 if name == "rotation" else 16.0
    changes = []
    for seed in seeds(60):
        frames = random_warp(tf.constant(blob(16.0, column)), augment, seed).numpy()
        np.testing.assert_array_equal(frames[0], frames[1])
        centre, spread = moments(frames[0])
        if name == "rotation":
            radius = np.linalg.norm(centre - 16)
            assert radius == pytest.approx(8.0, abs=0.15)
            changes.append(math.degrees(math.atan2(centre[1] - 16, centre[0] - 16)) / 90)
        elif name == "translation":
            changes.extend((centre - 16) / (0.2 * SIDE))
            np.testing.assert_allclose(spread, moments(blob(16.0, 16.0)[0])[1], atol=0.4)
        else:
            np.testing.assert_allclose(centre, 16, atol=0.1)
            ratio = spread[0, 0] / spread[1, 1] if name == "stretch" else np.linalg.det(spread) / 16
            changes.append(math.log(ratio) / (2 if name == "stretch" else 4) / math.log(1.5))
    # Interpolation widens a spot a little.
    assert min(changes) >= -1.05 and max(changes) <= 1.15
    assert min(changes) < -0.8 and max(changes) > 0.8
    assert abs(float(np.mean(changes))) < 0.3


def test_the_same_seed_gives_the_same_warp_and_another_one_another():
    augment = AugmentConfig(rotation=20, translation=0.1, zoom=0)
    clip = tf.constant(blob(12.0, 20.0))
    first, again, other = (random_warp(clip, augment, seed).numpy() for seed in [*seeds(1), *seeds(2)])
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_without_limits_nothing_is_to_be_warped():
    assert not warps(AugmentConfig(translation=0, zoom=0))


def test_brightness_is_one_factor_for_the_whole_clip_within_its_limits():
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(2, axis=0)
    factors = []
    for seed in seeds(80):
        brighter = random_brightness(tf.constant(grey), 1.0, seed).numpy()
        assert brighter.dtype == np.uint8
        factor = brighter[0, 7, 15, 0] / 127 if brighter[0, 15, 0, 0] == 255 else brighter[0, 15, 0, 0] / 240
        np.testing.assert_allclose(brighter, np.minimum(grey * factor, 255), atol=1.5)
        factors.append(factor)
    assert 0.49 <= min(factors) < 0.6
    assert 1.7 < max(factors) <= 2.01
    assert abs(float(np.mean(np.log(factors)))) < 0.15

import math

import numpy as np
import pytest

from kresp3d.datasets.synthetic.figure import Draw, Part
from kresp3d.datasets.synthetic.scene import Room, View, compose, draw_figure, draw_room, look


def disc(x, y, radius, depth, colour):
    return np.array([[x, y, depth]]), radius, colour


def view_of(*discs, moments=1):
    centres = np.stack([centre for centre, _, _ in discs]).astype(float).repeat(moments, axis=1)
    radii = np.array([[[radius, radius]] for _, radius, _ in discs]).repeat(moments, axis=1)
    return View(centres, centres.copy(), radii, np.array([colour for _, _, colour in discs], dtype=np.float32))


def test_a_person_facing_the_camera_has_their_left_hand_on_the_right_of_the_picture():
    point = np.array([[0.0, 0.3, 0.5]])
    seen = look([Part(point, point, (0.02, 0.02), (1, 1, 1))], yaw=0.0, pitch=0.0)
    np.testing.assert_allclose(seen.start[0, 0], [0.3, 0.0, 0.0], atol=1e-12)


def test_turned_to_the_right_forward_is_right_and_the_nearer_is_larger():
    points = [np.array([[0.3, y, 0.5]]) for y in (-0.2, 0.2)]
    seen = look([Part(point, point, (0.1, 0.1), (1, 1, 1)) for point in points], yaw=math.pi / 2, pitch=0.0)
    assert (seen.start[:, 0, 0] > 0.25).all()
    assert seen.start[0, 0, 2] < seen.start[1, 0, 2]
    assert seen.radii[0, 0, 0] > 0.1 > seen.radii[1, 0, 0]


def test_a_disc_covers_its_area_at_its_place():
    layer = draw_figure(view_of(disc(0, 0, 0.1, 0, (1, 1, 1))), 100.0, np.array([[40.3, 30.6]]), (0.0, 0.0))
    alpha = layer.alpha[0, ..., 0]
    assert alpha.sum() == pytest.approx(math.pi * 10**2, rel=0.01)
    y, x = np.mgrid[: alpha.shape[0], : alpha.shape[1]] + 0.5
    assert (alpha * x).sum() / alpha.sum() + layer.corner[0, 0] == pytest.approx(40.3, abs=0.05)
    assert (alpha * y).sum() / alpha.sum() + layer.corner[0, 1] == pytest.approx(30.6, abs=0.05)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_limb_hides_the_farther_whichever_is_drawn_first(order):
    discs = [disc(0, 0, 0.1, 0.0, (1, 0, 0)), disc(0, 0, 0.1, 0.5, (0, 1, 0))]
    layer = draw_figure(view_of(*(discs[i] for i in order)), 100.0, np.array([[20.0, 20.0]]), (0.0, 0.0))
    middle = layer.colour[0, layer.colour.shape[1] // 2, layer.colour.shape[2] // 2]
    assert middle[0] > 0.8
    assert middle[1] == 0


def test_a_room_repeats_sideways_and_keeps_away_from_black_and_white():
    for seed in range(12):
        room = draw_room(Draw(seed), 48, 64, 36.0, [(0.5, 0.5, 0.5)])
        assert room.picture.shape == (48 + 2 * room.edge, 128, 3)
        assert room.picture.min() >= 0.0
        assert room.picture.max() <= 1.0
        assert np.ptp(room.picture) > 0.02


def test_the_room_moves_against_the_camera_and_the_figure_does_not():
    period, edge = 16, 4
    ramp = np.broadcast_to(np.arange(period, dtype=np.float32)[None, :, None] / 64, (8 + 2 * edge, period, 3))
    layer = draw_figure(view_of(disc(0, 0, 0.2, 0, (1, 1, 1)), moments=2), 10.0, np.full((2, 2), 4.0), (0.0, 0.0))
    frames = compose(Room(ramp, edge), np.array([[0.0, 0.0], [2.5, 0.0]]), layer, (8, 8))
    np.testing.assert_allclose(frames[0, 0, :, 0] * 64, np.arange(8), atol=1e-5)
    np.testing.assert_allclose(frames[1, 0, :, 0] * 64, np.arange(8) + 2.5, atol=1e-5)
    np.testing.assert_allclose(frames[0, 4, 4], frames[1, 4, 4])
    wrapped = compose(Room(ramp, edge), np.array([[16.0, 0.0], [18.5, 0.0]]), layer, (8, 8))
    np.testing.assert_array_equal(wrapped, frames)


def test_a_figure_that_leaves_the_picture_is_cut_off():
    layer = draw_figure(
        view_of(disc(0, 0, 0.3, 0, (1, 1, 1)), moments=2), 10.0, np.array([[0.0, 0.0], [8.0, 8.0]]), (0.0, 0.0)
    )
    dark = Room(np.zeros((16, 16, 3), dtype=np.float32), 4)
    frames = compose(dark, np.zeros((2, 2)), layer, (8, 8))
    assert frames[0, 0, 0, 0] > 0.5 > frames[0, 7, 7, 0]
    assert frames[1, 7, 7, 0] > 0.5 > frames[1, 0, 0, 0]

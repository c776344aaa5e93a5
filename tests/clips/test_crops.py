"""Where a clip is cropped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.clips.crops import POSITIONS, centre_box, crop_box, training_boxes

pixels = st.integers(1, 600)
scales = st.floats(0.01, 1.0)


@given(height=pixels, width=pixels, scale=scales, position=st.sampled_from(sorted(POSITIONS)))
def test_a_crop_lies_in_the_frame_and_is_the_share_of_its_short_side(height, width, scale, position):
    top, left, side = crop_box(height, width, scale, position)
    assert 0 <= top <= height - side
    assert 0 <= left <= width - side
    assert side >= 1
    assert abs(side - scale * min(height, width)) <= max(0.5, 1 - scale * min(height, width))


@given(height=pixels, width=pixels, scale=scales)
def test_corners_touch_two_edges_and_the_centre_is_in_the_middle(height, width, scale):
    boxes = {position: crop_box(height, width, scale, position) for position in POSITIONS}
    for position, (top, left, side) in boxes.items():
        room = (top, height - side - top, left, width - side - left)
        if position == "centre":
            assert abs(room[0] - room[1]) <= 1
            assert abs(room[2] - room[3]) <= 1
        else:
            vertical, horizontal = position.split("_")
            assert room[{"top": 0, "bottom": 1}[vertical]] == 0
            assert room[{"left": 2, "right": 3}[horizontal]] == 0


def test_boxes_by_hand():
    assert crop_box(256, 341, 0.875, "top_right") == (0, 117, 224)
    assert crop_box(256, 341, 0.66, "bottom_left") == (87, 0, 169)
    assert centre_box(256, 341) == (0, 42, 256)
    assert centre_box(120, 90) == (15, 0, 90)
    assert crop_box(3, 3, 0.01, "centre") == (1, 1, 1)


def test_training_draws_from_each_scale_at_each_position():
    boxes = training_boxes(96, 128, (1.0, 0.75), "corners")
    assert len(boxes) == 2 * 5
    assert {box.side for box in boxes} == {96, 72}
    assert {(box.top, box.left) for box in boxes if box.side == 72} == {(0, 0), (0, 56), (24, 0), (24, 56), (12, 28)}


def test_training_in_the_centre_has_one_box_for_each_scale():
    assert training_boxes(96, 128, (1.0, 0.75), "centre") == [(0, 16, 96), (12, 28, 72)]


def test_an_unknown_position_is_refused():
    with pytest.raises(KeyError):
        crop_box(96, 128, 1.0, "middle")

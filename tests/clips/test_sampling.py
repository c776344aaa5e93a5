"""Which frames make a clip."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.clips.sampling import clip_indices, clip_span, number_of_starts, played_offsets, uniform_starts

small = st.integers(1, 40)


@given(frames=small, step=st.integers(1, 8), stride=st.integers(1, 8))
def test_span_is_from_the_first_frame_of_a_clip_to_its_last(frames, step, stride):
    indices = clip_indices(5, frames + step, stride, 10**6)
    assert indices[0] == 5
    assert clip_span(frames, step, stride) == indices[-1] - indices[0] + 1


def test_a_clip_is_every_stride_th_frame():
    assert clip_indices(2, 4, 3, 100).tolist() == [2, 5, 8, 11]


def test_a_short_video_is_looped():
    assert clip_indices(0, 8, 1, 3).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert clip_indices(0, 5, 2, 3).tolist() == [0, 2, 1, 0, 2]
    assert clip_indices(0, 3, 4, 1).tolist() == [0, 0, 0]


@given(n=small, stride=st.integers(1, 8), n_frames=st.integers(1, 400), place=st.floats(0, 1, exclude_max=True))
def test_clips_have_one_length_and_leave_no_video(n, stride, n_frames, place):
    span = clip_span(n, 0, stride) if n > 1 else 1
    starts = number_of_starts(n_frames, span)
    indices = clip_indices(int(place * starts), n, stride, n_frames)
    assert len(indices) == n
    assert indices.min() >= 0
    assert indices.max() < n_frames
    if n_frames >= span:
        assert np.all(np.diff(indices) == stride)  # not looped


@given(span=small, n_frames=st.integers(1, 100))
def test_the_last_start_reaches_the_last_frame(span, n_frames):
    starts = number_of_starts(n_frames, span)
    fitting = [start for start in range(n_frames) if start + span <= n_frames]
    assert starts == max(1, len(fitting))


@given(n_frames=st.integers(1, 3000), span=small, clips=st.integers(2, 20))
def test_uniform_starts_are_the_rounded_even_division(n_frames, span, clips):
    starts = uniform_starts(n_frames, span, clips)
    last = max(0, n_frames - span)
    assert starts.shape == (clips,)
    assert starts[0] == 0
    assert starts[-1] == last
    for i, start in enumerate(starts.tolist()):
        assert abs(start - Fraction(i * last, clips - 1)) <= Fraction(1, 2)


def test_uniform_starts_by_hand():
    assert uniform_starts(37, 17, 5).tolist() == [0, 5, 10, 15, 20]
    assert uniform_starts(19, 17, 5).tolist() == [0, 0, 1, 2, 2]
    assert uniform_starts(9, 17, 3).tolist() == [0, 0, 0]
    assert uniform_starts(100, 17, 1).tolist() == [41]


def test_several_clips_at_once_are_those_clips():
    starts = uniform_starts(30, 9, 4)
    together = clip_indices(starts[:, None], 5, 2, 30)
    assert together.tolist() == [clip_indices(start, 5, 2, 30).tolist() for start in starts]


@given(st.integers(1, 64), st.integers(1, 8))
def test_at_its_own_speed_a_video_plays_as_the_stride_says(n, stride):
    assert (played_offsets(n, stride, 1.0) == clip_indices(0, n, stride, n * stride)).all()


@given(st.integers(1, 64), st.integers(1, 8), st.floats(0.25, 4.0))
def test_a_faster_video_is_read_at_the_nearest_frames(n, stride, speed):
    offsets = played_offsets(n, stride, speed)
    assert offsets[0] == 0
    assert np.abs(offsets - [speed * stride * t for t in range(n)]).max() <= 0.5


def test_speeds_by_hand():
    assert played_offsets(5, 2, 0.75).tolist() == [0, 2, 3, 5, 6]
    assert played_offsets(5, 1, 0.5).tolist() == [0, 1, 1, 2, 2]
    assert played_offsets(3, 2, 1.5).tolist() == [0, 3, 6]

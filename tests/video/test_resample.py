from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.video.resample import LATE, MAX_STEP, resample, timeline

gaps = st.lists(st.floats(0.005, 3.0), max_size=40)
rates = st.floats(1.0, 60.0)


@given(gaps, rates)
def test_output_k_is_the_last_frame_not_later_than_k_over_fps(gaps: list[float], fps: float) -> None:
    times = [0.0, *itertools.accumulate(gaps)]

    got = list(resample(zip(times, range(len(times)), strict=True), fps))

    count = 1 + sum(1 for k in range(1, math.ceil(times[-1] * fps) + 2) if k / fps <= times[-1] + LATE)
    expected = [max(i for i, t in enumerate(times) if t <= k / fps + LATE) for k in range(count)]
    assert got == expected


def test_the_same_rate_keeps_every_frame() -> None:
    assert list(resample(((i / 15, i) for i in range(100)), 15)) == list(range(100))


def test_25_to_15_frames_per_second_takes_three_of_five() -> None:
    assert list(resample(((i / 25, i) for i in range(16)), 15)) == [0, 1, 3, 5, 6, 8, 10, 11, 13, 15]


def test_times_rounded_to_milliseconds_give_the_frames_of_exact_times() -> None:
    rounded = [(round(i / 30, 3), i) for i in range(61)]
    assert list(resample(rounded, 15)) == list(range(0, 61, 2))


def test_one_frame_gives_one_and_none_gives_none() -> None:
    assert list(resample([(0.0, "a")], 15)) == ["a"]
    assert list(resample([], 15)) == []


def test_frames_are_passed_on_as_they_come() -> None:
    endless = resample(((i / 15, i) for i in itertools.count()), 15)
    assert list(itertools.islice(endless, 5)) == [0, 1, 2, 3, 4]


def lines(stamps: list[float | None], period: float = 1.0) -> list[float]:
    return [time for time, _ in timeline(((stamp, None) for stamp in stamps), period)]


@given(
    st.lists(st.one_of(st.none(), st.floats(-30, 30), st.floats(-1e6, 1e6)), min_size=1, max_size=60),
    st.floats(0.005, 1.0),
)
def test_whatever_the_stamps_times_begin_at_0_increase_and_never_leap(
    stamps: list[float | None], period: float
) -> None:
    times = lines(stamps, period)
    assert len(times) == len(stamps)
    assert times[0] == 0
    assert all(0 < b - a <= MAX_STEP + 1e-6 for a, b in itertools.pairwise(times))


@given(st.floats(-100, 100), st.lists(st.floats(0.01, 5.0), max_size=30))
def test_good_times_are_kept_relative_to_the_first(start: float, gaps: list[float]) -> None:
    stamps = list(itertools.accumulate(gaps, initial=start))
    assert lines([*stamps]) == pytest.approx([s - start for s in stamps], abs=1e-9)


def test_missing_times_follow_the_rate() -> None:
    assert lines([None] * 4, 0.5) == [0, 0.5, 1, 1.5]
    assert lines([3.0, None, None, 6.0], 0.5) == [0, 0.5, 1, 3]


def test_equal_times_follow_the_rate() -> None:
    assert lines([7.0] * 4, 0.5) == [0, 0.5, 1, 1.5]


def test_times_that_go_back_and_forth_become_even() -> None:
    # UCF101's v_BabyCrawling_g02_c01.avi, whose frames come in the right order.
    times = lines([1, 2, 4, 3, 5, 7, 6, 8, 10, 9, 11, 13, 12, 14])
    assert times == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]


def test_a_clock_that_starts_anew_goes_on_where_it_was() -> None:
    assert lines([100.0, 101.0, 0.0, 1.0, 3.0]) == [0, 1, 2, 3, 5]


def test_a_leap_ahead_is_closed() -> None:
    assert lines([0.0, 1.0, 9000.0, 9001.0]) == [0, 1, 2, 3]

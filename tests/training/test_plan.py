"""The plan of a training against the arithmetic that it stands for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.clips.sampling import clip_span, steps_per_epoch
from kresp3d.config.schema import AUTOMATIC, Config, load_config
from kresp3d.training.plan import Videos, doubts, settle

lengths = st.lists(st.integers(1, 2000), min_size=1, max_size=400).map(tuple)
#: Training clips a second, from a slow machine with a large network to a fast one with a small network.
rates = st.none() | st.floats(0.05, 1e4)


def plan_of(n_videos: int, length: int = 60, validation: int = 0, rate: float | None = None, *overrides: str):
    measure = None if rate is None else lambda config: rate
    return settle(load_config(None, overrides), Videos((length,) * n_videos, validation), measure)


@given(lengths, st.integers(0, 1000), rates)
def test_nothing_is_left_open_and_every_choice_is_in_range(frames, validation, rate):
    measure = None if rate is None else lambda config: rate
    plan = settle(Config(), Videos(frames, validation), measure)
    assert not plan.config.auto
    assert [choice.key for choice in plan.choices if choice.reason] == [choice.key for choice in plan.choices]
    assert sorted(choice.key for choice in plan.choices) == sorted(AUTOMATIC)
    training = plan.config.training
    assert 0 <= training.warmup_epochs <= training.epochs
    # What the average reaches back to is no more than a tenth of the training.
    steps = plan.steps * training.epochs
    assert 0 <= training.ema <= 0.99 and 1 / (1 - training.ema) <= max(1, 0.1 * steps) * 1.01
    assert plan.clips == steps * training.batch_size
    assert str(plan) and all(doubts(plan))


@given(lengths, rates)
def test_the_plan_keeps_to_its_minutes(frames, rate):
    plan = settle(Config(), Videos(frames), None if rate is None else lambda config: rate)
    if plan.rate is None:
        assert plan.seconds is None
    elif plan.config.training.epochs > 1:
        assert plan.seconds <= 60 * plan.config.training.minutes * (1 + 1e-9)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_more_videos_never_mean_fewer_steps(few, more):
    few, more = sorted((few, more))
    one, other = plan_of(few), plan_of(more)
    # An epoch is whole, so that up to one of them may be missing.
    assert other.clips + other.steps * other.config.training.batch_size >= one.clips


@pytest.mark.parametrize("n_videos", [30, 84, 300, 360, 3000])
def test_few_videos_are_seen_often_and_many_as_often_as_planned(n_videos):
    plan = plan_of(n_videos)
    wanted = max(16_000, 160 * n_videos)
    in_epoch = plan.steps * 8
    assert wanted <= plan.clips < wanted + in_epoch
    assert plan.steps >= 40 and (plan.config.clip.per_video == 1 or plan.steps < 40 + n_videos / 8)
    assert plan.config.clip.per_video == math.ceil(320 / n_videos)


def test_minutes_limit_the_epochs_by_the_speed_that_was_measured():
    asked = []

    def measure(config):
        asked.append(config)
        return 100.0

    plan = settle(load_config(None, ["training.minutes=2"]), Videos((60,) * 400, 40), measure)
    # 400 clips and 40 validation clips at a third of the price.
    assert plan.config.training.epochs == int(120 / ((400 + 40 / 3) / 100)) == 29
    assert "29 epochs" in str(plan) and "2:00" in str(plan) and "11,600 clips" in str(plan)
    # What the speed depends on is settled by then.
    (config,) = asked
    assert "training.epochs" in config.auto and not {"model.frames", "clip.per_video"} & config.auto


def test_what_is_given_is_kept_and_nothing_is_measured_for_it():
    def measure(config):
        raise AssertionError("there is nothing to find out")

    given = ["training.epochs=7", "model.frames=5", "training.ema=null", "training.keep=best"]
    plan = settle(load_config(None, given), Videos((60,) * 10), measure)
    assert (plan.config.training.epochs, plan.config.model.frames) == (7, 5)
    assert plan.config.training.ema is None and plan.config.training.keep == "best"
    settled = settle(load_config("base"), Videos((45,) * 360, 90), measure)
    assert settled.config == load_config("base") and settled.choices == ()


@pytest.mark.parametrize(
    ("length", "frames", "stride"),
    [(60, 16, 2), (45, 16, 1), (300, 16, 2), (17, 16, 1), (16, 15, 1), (10, 9, 1), (2, 1, 1), (1, 1, 1)],
)
def test_clips_are_cut_by_how_long_the_videos_are(length, frames, stride):
    plan = plan_of(20, length)
    assert (plan.config.model.frames, plan.config.clip.frame_stride) == (frames, stride)
    # Nothing is looped, and nothing warned of, but where a video has no residual frame at all.
    assert bool(doubts(plan)) == (length == 1)


def test_half_of_the_videos_decide_and_not_a_few_long_ones():
    plan = settle(Config(), Videos((20, 20, 20, 5000, 5000)))
    assert plan.config.clip.frame_stride == 1


@pytest.mark.parametrize(("validation", "keep"), [(0, "last"), (13, "last"), (499, "last"), (500, "best")])
def test_the_best_epoch_is_kept_where_it_can_be_told(validation, keep):
    assert plan_of(50, validation=validation).config.training.keep == keep


def test_clips_that_outlast_most_videos_are_told():
    plan = plan_of(20, 20, 0, None, "model.frames=16", "clip.frame_stride=2")
    (doubt,) = doubts(plan)
    assert clip_span(16, 1, 2) == 33 and "33" in doubt and "20 of 20" in doubt and "clip.frame_stride" in doubt
    assert doubts(plan_of(20, 40, 0, None, "model.frames=16", "clip.frame_stride=2")) == []


def test_too_little_time_is_told():
    plan = plan_of(20_000, rate=100.0)
    (doubt,) = doubts(plan)
    assert plan.config.training.epochs == 2 and "2.0 clips of each video" in doubt and "training.minutes" in doubt
    assert doubts(plan_of(3000, rate=100.0)) == []


def test_steps_of_an_epoch_are_those_of_the_pipeline():
    plan = plan_of(7, 60, 0, None, "clip.per_video=3", "training.batch_size=4")
    assert plan.steps == steps_per_epoch(7, plan.config) == 5

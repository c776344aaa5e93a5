"""The steps that were asked for are profiled."""

from __future__ import annotations

import pytest
import tensorflow as tf

from kresp3d.training.profiler import StepProfiler


@pytest.fixture
def recorded(monkeypatch):
    """What the profiler was told, in order."""
    said = []

    class Trace:
        def __init__(self, name, step_num, _r):
            self.step = step_num

        def __enter__(self):
            said.append(self.step)

        def __exit__(self, *_):
            said.append(f"end of {self.step}")

    monkeypatch.setattr(tf.profiler.experimental, "start", lambda folder: said.append(f"start in {folder}"))
    monkeypatch.setattr(tf.profiler.experimental, "stop", lambda: said.append("stop"))
    monkeypatch.setattr(tf.profiler.experimental, "Trace", Trace)
    return said


def train(profiler, epochs, steps=3):
    for _ in range(epochs):
        for batch in range(steps):
            profiler.on_train_batch_begin(batch)
            profiler.on_train_batch_end(batch)


def test_the_first_step_is_in_and_the_last_is_out_over_the_end_of_an_epoch(recorded, tmp_path):
    profiler = StepProfiler(tmp_path, (2, 4))
    train(profiler, epochs=3)
    profiler.stop()
    assert recorded == [f"start in {tmp_path}", 2, "end of 2", 3, "end of 3", "stop"]


def test_a_training_that_ends_in_between_writes_what_there_is(recorded, tmp_path):
    profiler = StepProfiler(tmp_path, (2, 40))
    train(profiler, epochs=1)
    # As on Ctrl-C, in the middle of a step.
    profiler.on_train_batch_begin(0)
    profiler.stop()
    profiler.stop()
    assert recorded == [f"start in {tmp_path}", 2, "end of 2", 3, "end of 3", "stop"]


@pytest.mark.parametrize(("done", "steps"), [(3, [3, 4]), (6, [])])
def test_a_resumed_training_profiles_the_steps_that_are_left(recorded, tmp_path, done, steps):
    profiler = StepProfiler(tmp_path, (2, 5), done)
    train(profiler, epochs=2)
    assert [step for step in recorded if isinstance(step, int)] == steps


def test_tensorflow_writes_a_profile_that_tensorboard_finds(tmp_path):
    profiler = StepProfiler(tmp_path, (0, 1))
    profiler.on_train_batch_begin(0)
    tf.linalg.matmul(tf.ones([8, 8]), tf.ones([8, 8])).numpy()
    profiler.on_train_batch_end(0)
    [profile] = tmp_path.glob("plugins/profile/*/*.xplane.pb")
    assert b"MatMul" in profile.read_bytes()

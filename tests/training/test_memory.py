from __future__ import annotations

import logging

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.config.schema import make_config
from kresp3d.nn import P3DResNet
from kresp3d.system.errors import KrespError
from kresp3d.training import memory
from kresp3d.training.memory import (
    Memory,
    check_memory,
    check_together,
    kept_numbers,
    numbers_at_work,
    reckon_memory,
    what_helps,
)

SMALL = {"model.width": 4, "model.blocks": [1, 1], "model.frames": 4, "model.size": 32, "training.precision": "float32"}


def small(**keys):
    return make_config({"training": {}}, {**SMALL, **{key.replace("__", "."): value for key, value in keys.items()}})


def test_what_each_layer_gives_is_counted():
    inputs = keras.Input((2, 3, 5), name="frames")
    x = keras.layers.Conv2D(7, 1)(inputs)
    x = keras.layers.Flatten()(x)
    model = keras.Model({"frames": inputs}, keras.layers.Dense(11)(x))
    assert kept_numbers(model) == 2 * 3 * 5 + 2 * 3 * 7 + 2 * 3 * 7 + 11


def test_of_recomputed_blocks_the_largest_counts_twice_and_the_others_not():
    network = P3DResNet(classes=3, frames=4, size=32, width=4, blocks=(1, 1))
    inside = {
        name: sum(
            layer.output.shape[1] * layer.output.shape[2] * layer.output.shape[3] * layer.output.shape[4]
            for layer in network.layers
            if layer.name.startswith(f"{name}_")
        )
        for name in ("res2_1", "res3_1")
    }
    assert inside["res2_1"] > inside["res3_1"]
    expected = kept_numbers(network) + inside["res2_1"] - inside["res3_1"]
    assert kept_numbers(network, recomputed=True) == expected


def test_what_is_at_work_at_the_same_time_is_counted():
    inputs = keras.Input((5,), name="frames")
    x = keras.layers.Dense(100)(inputs)
    y = keras.layers.Dense(7)(x)
    z = keras.layers.Dense(3)(x)
    # When y is there, x is still needed for z.
    model = keras.Model({"frames": inputs}, keras.layers.Concatenate()([y, z]))
    assert numbers_at_work(model) == 100 + 7 + 3
    x = inputs
    for units in (40, 50, 2):
        x = keras.layers.Dense(units)(x)
    assert numbers_at_work(keras.Model({"frames": inputs}, x)) == 40 + 50


@given(
    there=st.integers(1, 2**40), trainings=st.integers(1, 8), clip=st.integers(1, 2**32), scored=st.integers(0, 2**36)
)
def test_it_is_refused_by_a_clear_margin_only_and_warned_of_before(there, trainings, clip, scored):
    found = Memory(steady=2**30, clip=clip, batch=4, scored_clip=scored, scored_batch=1)
    assert found.peak == 2**30 + max(4 * clip, scored)
    share = trainings * found.peak / there
    expected = "fits" if share <= 0.8 else "close" if share <= 1.25 else "too large"
    assert found.verdict(there, trainings) == expected


@pytest.mark.parametrize(("key", "more"), [("training__batch_size", 16), ("model__frames", 8), ("model__size", 64)])
def test_more_clips_frames_and_pixels_take_more(key, more):
    keys = {"training__batch_size": 8, "evaluation__batch_size": 1}
    one, other = reckon_memory(small(**keys), 3), reckon_memory(small(**{**keys, key: more}), 3)
    factor = 4 if key == "model__size" else 2
    # A few layers, such as fc1, give as much whatever the frames.
    assert other.step == pytest.approx(factor * one.step, rel=0.03)
    assert other.steady == one.steady


def test_half_the_precision_takes_half_of_a_clip_and_hosts_share_the_clips():
    whole, half = reckon_memory(small(), 3), reckon_memory(small(training__precision="mixed_bfloat16"), 3)
    assert whole.clip == pytest.approx(2 * half.clip, abs=1) and whole.steady == half.steady
    assert reckon_memory(small(training__batch_size=8), 3, hosts=2).batch == 4


def test_moments_averages_and_videos_take_their_bytes():
    parameters = P3DResNet(classes=3, **dict(small().model)).count_params()
    adam = reckon_memory(small(training__optimizer="adamw", training__ema=0.9), 3).steady
    sgd = reckon_memory(small(training__optimizer="sgd", training__ema=None), 3).steady
    assert adam - sgd == 2 * 4 * parameters
    assert reckon_memory(small(), 3, 2**30).steady - adam == 2**30
    # More than data.memory is left on the disk.
    assert reckon_memory(small(), 3, 2**30 + 1).steady == adam


def test_videos_that_others_decode_are_not_held():
    assert reckon_memory(small(data__service="grpc://host:5050"), 3, 2**20) == reckon_memory(small(), 3)


def test_clips_that_are_scored_count_where_they_take_more_than_a_step():
    few = reckon_memory(small(training__batch_size=1, evaluation__batch_size=64), 3)
    assert few.scoring > few.step and few.peak == few.steady + few.scoring


@pytest.mark.parametrize(
    ("precision", "keys", "batch", "measured"),
    [
        ("float32", {"stem_pool": False}, 1, 5.14),
        ("mixed_bfloat16", {"stem_pool": False}, 4, 8.67),
        ("float32", {}, 4, 6.26),
        ("float32", {}, 8, 10.43),
        ("mixed_bfloat16", {}, 1, 2.19),
        ("mixed_bfloat16", {}, 8, 6.21),
        ("mixed_bfloat16", {"gradient_checkpointing": True}, 8, 3.96),
    ],
)
def test_steps_of_the_papers_network_take_what_was_measured(precision, keys, batch, measured):
    """GiB at the peak of processes that trained Table 1 by SGD, from `docs/performance.md`."""
    settings = {
        "model.stem_pool": keys.get("stem_pool", True),
        "training.gradient_checkpointing": keys.get("gradient_checkpointing", False),
        "training.precision": precision,
    }
    fixed = {"training.optimizer": "sgd", "training.ema": None, "training.batch_size": batch}
    found = reckon_memory(make_config("ucf101", {**settings, **fixed}), 101)
    assert (found.steady + found.step) / 2**30 == pytest.approx(measured, rel=0.12)


def test_what_does_not_fit_is_refused_with_what_would(monkeypatch):
    config = small(training__batch_size=64)
    needed = reckon_memory(config, 3)
    there = needed.steady + 10 * needed.clip
    # Small as the network is, the process is most of it.
    monkeypatch.setattr(memory, "TOO_LARGE", 1.0)
    monkeypatch.setattr(memory, "available", lambda: there)
    with pytest.raises(
        KrespError, match=r"GiB are available; lower training\.batch_size to 10 or less.*check_memory: f"
    ):
        check_memory(config, 3)
    check_memory(small(training__batch_size=64, training__check_memory=False), 3)
    check_memory(small(training__batch_size=10, evaluation__batch_size=1), 3)
    # Where it is not known, nothing is said.
    monkeypatch.setattr(memory, "available", lambda: None)
    check_memory(config, 3)


def test_a_gpu_and_a_system_that_says_nothing_leave_it_unknown(monkeypatch):
    monkeypatch.setattr(memory, "memory", lambda: (2**34, 2**33))
    monkeypatch.setattr(memory, "resident_memory", lambda: 2**29)
    assert memory.available() == 2**33 + 2**29
    monkeypatch.setattr(memory, "on_gpu", lambda: True)
    assert memory.available() is None
    monkeypatch.setattr(memory, "on_gpu", lambda: False)
    monkeypatch.setattr(memory, "memory", lambda: (None, None))
    assert memory.available() is None


def test_videos_that_are_held_in_memory_count(monkeypatch):
    config = small()
    decoded = 2**29
    monkeypatch.setattr(memory, "TOO_LARGE", 1.0)
    monkeypatch.setattr(memory, "available", lambda: reckon_memory(config, 3).peak)
    check_memory(config, 3)
    with pytest.raises(KrespError, match="GiB are available"):
        check_memory(config, 3, decoded)


def test_trainings_side_by_side_are_refused_that_one_by_one_would_fit(monkeypatch):
    configs = {"small": small(), "large": small(training__batch_size=512)}
    largest = reckon_memory(configs["large"], 3).peak
    monkeypatch.setattr(memory, "available", lambda: round(2.5 * largest))
    check_together(configs, 3, 0, 3)
    with pytest.raises(KrespError, match=r"4 trainings at a time \(--jobs 4\) take about .* use --jobs 2\. "):
        check_together(configs, 3, 0, 4)
    check_together({"large": small(training__batch_size=512, training__check_memory=False)}, 3, 0, 9)
    monkeypatch.setattr(memory, "available", lambda: round(0.5 * largest))
    with pytest.raises(KrespError, match=r"^this training takes .* lower training\.batch_size"):
        check_together(configs, 3, 0, 4)


def test_what_hardly_fits_is_warned_of(monkeypatch, caplog):
    config = small()
    peak = reckon_memory(config, 3).peak
    with caplog.at_level(logging.WARNING, logger="kresp3d"):
        monkeypatch.setattr(memory, "available", lambda: 2 * peak)
        check_memory(config, 3)
        assert not caplog.records
        monkeypatch.setattr(memory, "available", lambda: round(1.1 * peak))
        check_memory(config, 3)
    assert "if memory runs out, lower" in caplog.text


def test_only_what_is_not_done_yet_is_said_to_help_the_largest_effect_first(monkeypatch):
    monkeypatch.setattr(memory, "fast_precision", lambda: "mixed_bfloat16")
    keys = ("batch_size", "frames", "size", "stem_pool", "gradient_checkpointing", "mixed_bfloat16")
    said = what_helps(small(model__stem_pool=False))
    places = [said.index(key) for key in ("batch_size", "model.frames", "model.size", *keys[3:])]
    assert places == sorted(places)
    settings = {"training__precision": "mixed_bfloat16", "training__gradient_checkpointing": True}
    assert not any(key in what_helps(small(**settings)) for key in keys[3:])
    # It would take many times as long.
    monkeypatch.setattr(memory, "fast_precision", lambda: "float32")
    assert "bfloat16" not in what_helps(small())
    assert "batch_size" not in what_helps(small(training__batch_size=1))


def test_scoring_is_made_smaller_where_it_is_what_does_not_fit():
    config = small(training__batch_size=1, evaluation__batch_size=64)
    needed = reckon_memory(config, 3)
    there = needed.steady + 5 * needed.scored_clip
    said = what_helps(config, needed, there)
    assert said.startswith("lower evaluation.batch_size to 5 or less, model.frames or model.size")
    assert "training.batch_size" not in said and "checkpointing" not in said


def test_a_network_that_is_compressed_stays_what_it_is():
    said = what_helps(small(compress__methods=["qat"], model__stem_pool=False))
    assert said == "lower training.batch_size"
    assert "gradient_checkpointing" in what_helps(small(compress__methods=["prune"]))
    assert what_helps(small(compress__methods=["qat"], training__batch_size=1)) == "use a machine with more memory"

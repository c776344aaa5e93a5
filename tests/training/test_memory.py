from __future__ import annotations

import logging

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.config.schema import make_config
from kresp3d.nn import P3DResNet
from kresp3d.records.index import Record
from kresp3d.system.errors import KrespError
from kresp3d.training import memory
from kresp3d.training.memory import Memory, check_memory, kept_numbers, reckon_memory, what_helps

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


@given(batch=st.integers(1, 64), free=st.integers(0, 2**40))
def test_as_many_clips_fit_as_the_memory_holds(batch, free):
    found = Memory(steady=3 * 2**30, clip=2**28 + 1, batch=batch)
    assert found.peak == 3 * 2**30 + batch * (2**28 + 1)
    fitting = found.fitting(free)
    assert Memory(found.steady, found.clip, fitting).peak <= max(free, found.steady)
    assert Memory(found.steady, found.clip, fitting + 1).peak > free


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


def test_videos_that_are_held_in_memory_count(monkeypatch):
    config = small()
    place = {"shard": "s", "offset": 0, "length": 9}
    video = Record(name="a", label="a", group=None, split="train", frames=1000, height=500, width=400, **place)
    free = reckon_memory(config, 3).peak + 1000 * 500 * 400 * 3
    monkeypatch.setattr(memory, "memory", lambda: (free, free))
    check_memory(config, 3, [video])
    monkeypatch.setattr(memory, "memory", lambda: (free, free - 1))
    with pytest.raises(KrespError, match="GiB are free"):
        check_memory(config, 3, [video])


def test_the_papers_network_takes_what_was_measured():
    # The peak of a process that trained Table 1 with a pool by SGD: 6.26 GiB with 4 clips, 10.43 GiB with 8.
    settings = {"model.stem_pool": True, "training.precision": "float32", "training.optimizer": "sgd"}
    found = reckon_memory(make_config("ucf101", {**settings, "training.ema": None, "training.batch_size": 4}), 101)
    assert found.peak / 2**30 == pytest.approx(6.26, rel=0.1)
    assert Memory(found.steady, found.clip, 8).peak / 2**30 == pytest.approx(10.43, rel=0.1)


def test_what_does_not_fit_is_refused_with_what_would(monkeypatch):
    config = small(training__batch_size=64)
    needed = reckon_memory(config, 3)
    free = needed.steady + 10 * needed.clip
    monkeypatch.setattr(memory, "memory", lambda: (2 * free, free))
    with pytest.raises(KrespError, match=r"training\.batch_size to 10 or less.*check_memory: false"):
        check_memory(config, 3, [])
    check_memory(small(training__batch_size=64, training__check_memory=False), 3, [])
    # Where it is not known, nothing is said.
    monkeypatch.setattr(memory, "memory", lambda: (None, None))
    check_memory(config, 3, [])


def test_what_hardly_fits_is_warned_of(monkeypatch, caplog):
    config = small()
    peak = reckon_memory(config, 3).peak
    with caplog.at_level(logging.WARNING, logger="kresp3d"):
        monkeypatch.setattr(memory, "memory", lambda: (2 * peak, 2 * peak))
        check_memory(config, 3, [])
        assert not caplog.records
        monkeypatch.setattr(memory, "memory", lambda: (2 * peak, round(1.1 * peak)))
        check_memory(config, 3, [])
    assert "if memory runs out, lower training.batch_size" in caplog.text


def test_only_what_is_not_done_yet_is_said_to_help():
    keys = ("mixed_bfloat16", "stem_pool", "gradient_checkpointing")
    assert all(key in what_helps(small(model__stem_pool=False)) for key in keys)
    settings = {"training__precision": "mixed_bfloat16", "training__gradient_checkpointing": True}
    assert not any(key in what_helps(small(**settings)) for key in keys)

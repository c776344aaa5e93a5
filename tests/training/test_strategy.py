"""Which devices train."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tensorflow as tf

from kresp3d.config.schema import TrainingConfig
from kresp3d.distributed.cluster import Cluster
from kresp3d.records.pipeline import WHOLE, Share
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.training.strategy import make_strategy, share_of


def test_one_device_needs_no_strategy():
    assert make_strategy(TrainingConfig(strategy="none")) is None
    assert make_strategy(TrainingConfig(strategy="none", replicas=1)) is None
    if len(tf.config.list_physical_devices("GPU")) < 2:
        assert make_strategy(TrainingConfig()) is None


def test_settings_that_contradict_each_other_get_a_sentence():
    with pytest.raises(UsageError, match="batch_size 16 cannot be divided among 3 replicas; use a multiple of 3"):
        make_strategy(TrainingConfig(replicas=3, batch_size=16))
    with pytest.raises(UsageError, match=r"training\.replicas is 2, but training\.strategy is 'none'"):
        make_strategy(TrainingConfig(replicas=2, strategy="none"))
    with pytest.raises(UsageError, match="mixed_float16 does not work on several replicas; use mixed_bfloat16"):
        make_strategy(TrainingConfig(replicas=2, precision="mixed_float16"))


@pytest.mark.skipif(len(tf.config.list_physical_devices("GPU")) > 3, reason="needs no logical devices here")
def test_logical_devices_that_come_too_late_get_a_sentence():
    tf.constant(0) + 1
    with pytest.raises(KrespError, match="4 logical CPU devices must be made before"):
        make_strategy(TrainingConfig(replicas=4))


def test_several_hosts_have_to_fit_before_they_are_waited_for(monkeypatch):
    hosts = '{"cluster": {"worker": ["a:1", "b:2", "c:3"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", hosts)
    several = {"strategy": "multi_worker", "batch_size": 16}
    with pytest.raises(UsageError, match="batch_size 16 cannot be divided among 3 replicas; use a multiple of 3"):
        make_strategy(TrainingConfig(**several))
    with pytest.raises(UsageError, match=r"training\.replicas is for one host"):
        make_strategy(TrainingConfig(**several, replicas=3))
    monkeypatch.delenv("TF_CONFIG")
    with pytest.raises(UsageError, match="needs the environment variable TF_CONFIG"):
        make_strategy(TrainingConfig(**several))


def test_a_share_is_that_of_the_process():
    assert share_of(None, None) is WHOLE
    cluster = Cluster(("a:1", "b:2"), 1)
    assert share_of(SimpleNamespace(num_replicas_in_sync=8), cluster) == Share(1, 2, 4)
    assert share_of(SimpleNamespace(num_replicas_in_sync=8), None) == Share(replicas=8)

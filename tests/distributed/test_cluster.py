from __future__ import annotations

import json
import signal

import pytest

from kresp3d.distributed import cluster
from kresp3d.distributed.cluster import Cluster
from kresp3d.system.errors import UsageError


def tf_config(hosts, kind="worker", index=0, **others):
    return json.dumps({"cluster": hosts, "task": {"type": kind, "index": index}, **others})


@pytest.mark.parametrize(
    ("value", "addresses", "worker"),
    [
        (tf_config({"worker": ["a:1", "b:2"]}), ("a:1", "b:2"), 0),
        (tf_config({"worker": ["a:1", "b:2"]}, index=1), ("a:1", "b:2"), 1),
        # As Kubernetes' training operator writes it.
        (tf_config({"worker": ["b:2"], "chief": ["a:1"]}, index="0", environment="cloud"), ("a:1", "b:2"), 1),
        (tf_config({"worker": ["b:2"], "chief": ["a:1"]}, "chief"), ("a:1", "b:2"), 0),
        (tf_config({"worker": ["[::1]:1"]}), ("[::1]:1",), 0),
    ],
)
def test_the_chief_comes_first(monkeypatch, value, addresses, worker):
    monkeypatch.setenv("TF_CONFIG", value)
    found = Cluster.from_environment()
    assert (found.addresses, found.worker, found.is_chief) == (addresses, worker, worker == 0)
    assert str(found) == f"worker {worker + 1} of {len(addresses)}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "needs the environment variable TF_CONFIG on every host"),
        ("", "expected JSON such as"),
        ("[1]", "expected JSON such as"),
        ("{}", "expected JSON such as"),
        (tf_config({"worker": ["a:1"]}, index=1), "whose task is one of the cluster's"),
        (tf_config({"worker": ["a:1"]}, "ps"), "whose task is one of the cluster's"),
        (tf_config({"worker": "a"}, index=None), "whose task is one of the cluster's"),
        (tf_config({"worker": ["a"]}), "TF_CONFIG: a: expected HOST:PORT"),
        (tf_config({"worker": ["a:0"]}), "TF_CONFIG: a:0: expected HOST:PORT"),
        (tf_config({"worker": ["a:1", "a:1"]}), "two workers have the same address"),
    ],
)
def test_what_names_no_hosts_is_a_sentence(monkeypatch, value, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if value is not None:
        monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(UsageError, match="TF_CONFIG") as error:
        Cluster.from_environment()
    assert message in str(error.value)


def test_while_others_are_waited_for_it_is_said_and_ctrl_c_ends_the_process(monkeypatch, capfd):
    monkeypatch.setattr(cluster, "INTERVAL", 0.05)
    before = signal.getsignal(signal.SIGINT)
    with cluster.waiting(Cluster(("127.0.0.1:1", "127.0.0.1:2"), 1)):
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
        said = ""
        while not said:
            said = capfd.readouterr().err
    assert said.startswith("WARNING: worker 2 of 2 waits for 127.0.0.1:1 (Connection refused)")
    assert signal.getsignal(signal.SIGINT) is before

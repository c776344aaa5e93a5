"""Several hosts train one network: processes on this one, in network namespaces where those can be made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

import kresp3d.nn  # noqa: F401
from kresp3d.cli.main import main

SCRIPT = Path(__file__).with_name("worker.py")
#: Of the namespaces; a process of another test run has others.
NAMES = [f"kresp3d-{os.getpid()}-{worker}" for worker in range(2)]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def hosts():
    """The addresses of two hosts without their ports, and what comes before a command that is to run on each."""
    with ExitStack() as undo:
        try:
            for name in NAMES:
                ip("netns", "add", name)
                undo.callback(ip, "netns", "delete", name)
            first, second = (f"k{os.getpid() % 10**6}{worker}" for worker in "ab")
            ip("link", "add", first, "netns", NAMES[0], "type", "veth", "peer", "name", second, "netns", NAMES[1])
            for name, link, address in ((NAMES[0], first, "10.77.0.1/24"), (NAMES[1], second, "10.77.0.2/24")):
                ip("-n", name, "address", "add", address, "dev", link)
                ip("-n", name, "link", "set", link, "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError):
            undo.close()
            yield ["127.0.0.1", "127.0.0.1"], [[], []]
        else:
            yield ["10.77.0.1", "10.77.0.2"], [["ip", "netns", "exec", name] for name in NAMES]


@pytest.fixture(scope="module")
def config_file(tiny_config, tmp_path_factory):
    values = {
        **tiny_config,
        "model": {**tiny_config["model"], "dropout": 0.0, "norm": "sync_batch"},
        # Three validation videos do not come out even on two workers.
        "training": {**tiny_config["training"], "epochs": 4, "learning_rate": 0.02, "ema": 0.8, "validation_clips": 3},
    }
    file = tmp_path_factory.mktemp("workers") / "tiny.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


class Workers:
    """Starts the same command on all hosts."""

    def __init__(self, hosts, folder, free_port):
        self.addresses, self.before = hosts
        self.folder = folder
        self.free_port = free_port

    def start(self, *words, numbers=(0, 1)):
        addresses = [f"{address}:{self.free_port()}" for address in self.addresses]
        self.processes = []
        for number in numbers:
            tf_config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
            self.processes.append(
                subprocess.Popen(
                    [*self.before[number], sys.executable, SCRIPT, self.folder / f"weights-{number}", *words],
                    env={**os.environ, "TF_CONFIG": json.dumps(tf_config), "PYTHONPATH": os.pathsep.join(sys.path)},
                    stdout=(self.folder / f"out-{number}").open("w"),
                    stderr=(self.folder / f"err-{number}").open("w"),
                )
            )
        return self.processes

    def errors(self, number):
        return (self.folder / f"err-{number}").read_text()

    def weights(self, number):
        return dict(line.split() for line in (self.folder / f"weights-{number}").read_text().splitlines())


@pytest.fixture
def workers(hosts, tmp_path, free_port):
    workers = Workers(hosts, tmp_path, free_port)
    yield workers
    for process in workers.processes:
        process.kill()
        process.wait()


def test_two_workers_one_of_which_was_killed_come_to_what_one_process_comes_to(workers, config_file, tmp_path):
    out = tmp_path / "run"
    train = ["train", "--config", config_file, "--out", out, "--set", "training.strategy=multi_worker"]
    chief, other = workers.start(*train)
    wait_for(lambda: (out / "history.csv").exists() or chief.poll() is not None, 120)
    other.send_signal(signal.SIGKILL)
    assert chief.wait(60) == 1
    # TensorFlow's own lines are around it.
    assert "\nError: another worker has ended, or cannot be reached" in workers.errors(0)
    done = len((out / "history.csv").read_text().splitlines()) - 1
    assert done < 4
    chief, other = workers.start(*train, "--resume")
    assert (chief.wait(120), other.wait(60)) == (0, 0), workers.errors(0)
    text = (tmp_path / "out-0").read_text()
    assert f"2 replicas; resuming after epoch {done}" in text and "Report: " in text
    assert len(text.splitlines()) > 8 > len((tmp_path / "out-1").read_text().splitlines())
    # Those after each epoch, of all trainings.
    assert workers.weights(0) == workers.weights(1) and set(workers.weights(0)) == set("1234")

    assert main(["train", "--config", str(config_file), "--out", str(tmp_path / "one")]) == 0
    one, two = (
        np.genfromtxt(run / "history.csv", delimiter=",", names=True, dtype=float) for run in (tmp_path / "one", out)
    )
    for column in one.dtype.names:
        np.testing.assert_allclose(two[column], one[column], rtol=2e-4, atol=1e-5, err_msg=column)
    networks = [keras.models.load_model(run / "model.keras") for run in (tmp_path / "one", out)]
    for mine, yours in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_allclose(yours, mine, rtol=1e-3, atol=2e-5)

    # All of them go on in another phase, which the chief alone has on the disk.
    more = ["--resume", "--set", "training.epochs=5", "--set", "training.learning_rate=0.01"]
    chief, other = workers.start(*train, *more)
    assert (chief.wait(120), other.wait(60)) == (0, 0), workers.errors(0)
    assert main(["train", "--config", str(config_file), "--out", str(tmp_path / "one"), *more]) == 0
    one, two = (
        np.genfromtxt(run / "history.csv", delimiter=",", names=True, dtype=float) for run in (tmp_path / "one", out)
    )
    assert list(two["phase"]) == [1, 1, 1, 1, 2]
    for column in one.dtype.names:
        np.testing.assert_allclose(two[column], one[column], rtol=1e-3, atol=1e-4, err_msg=column)


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)

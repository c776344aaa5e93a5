"""The `tf.data` service: a dispatcher and two workers in processes of their own."""

from __future__ import annotations

import contextlib
import csv
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.cli.main import main
from kresp3d.clips.sampling import steps_per_epoch
from kresp3d.config.schema import Config
from kresp3d.distributed import clip_service as module
from kresp3d.distributed.clip_service import clip_service, service_errors
from kresp3d.records.pipeline import training_dataset
from kresp3d.records.prepare import prepare
from kresp3d.system.address import Address
from kresp3d.system.errors import KrespError


class Service:
    """Processes of `kresp3d data serve`."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "kresp3d", "data", "serve", *map(str, words)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def start_all(self, port: int, workers: int = 2) -> str:
        """A dispatcher and its workers; gives its address."""
        assert process_says(self.start("--port", port), "Dispatching at port")
        started = [self.start("--dispatcher", f"127.0.0.1:{port}") for _ in range(workers)]
        assert all(process_says(worker, "Working for") for worker in started)
        return f"grpc://127.0.0.1:{port}"


def process_says(process: subprocess.Popen[str], words: str) -> bool:
    assert process.stdout is not None
    return any(words in line for line in process.stdout)


@contextlib.contextmanager
def services() -> Iterator[Service]:
    made = Service()
    yield made
    for process in made.processes:
        process.kill()
        process.communicate()


@pytest.fixture
def service() -> Iterator[Service]:
    with services() as made:
        yield made


@pytest.fixture(scope="module")
def address(free_port) -> Iterator[str]:
    """Of a service that runs on."""
    with services() as made:
        yield made.start_all(free_port())


@pytest.fixture(scope="module")
def config(tiny_config) -> Config:
    values = {**tiny_config, "data": {**tiny_config["data"], "memory": 0}, "clip": {"per_video": 4}}
    return Config.model_validate(values)


@pytest.fixture(scope="module")
def records(config):
    return prepare(config.data)


def epochs(config, records, count, each=lambda step: None):
    """The clips of each epoch, as bytes with their label, in order."""
    videos = records.split("train")
    service = clip_service(config.data)
    dataset = training_dataset(videos, records.folder, records.classes, config, service=service)
    steps = steps_per_epoch(len(videos), config)
    found, batches = [], iter(dataset)
    for _ in range(count):
        clips = []
        for step in range(steps):
            inputs, labels = next(batches)
            clips += [
                (frames.tobytes(), int(label)) for frames, label in zip(inputs["frames"].numpy(), labels, strict=True)
            ]
            each(step)
        found.append(clips)
    return found


def with_service(config: Config, address: str) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"service": address})})


def test_the_same_clips_come_in_the_same_order(address, config, records):
    assert epochs(with_service(config, address), records, 3) == epochs(config, records, 3)


def test_no_clip_is_lost_with_a_worker(service, config, records, free_port, monkeypatch):
    monkeypatch.setattr(module, "STALL", 1.0)
    address = service.start_all(free_port())

    def kill(step: int) -> None:
        if step == 3 and service.processes[1].poll() is None:
            service.processes[1].send_signal(signal.SIGKILL)
            service.processes[1].wait()

    found = epochs(with_service(config, address), records, 3, each=kill)
    assert service.processes[1].poll() is not None
    for got, expected in zip(found, epochs(config, records, 3), strict=True):
        assert sorted(got) == sorted(expected)


def test_no_clip_is_lost_with_a_worker_that_comes_back(service, config, records, free_port):
    """Under the address that it had, as where its port is fixed."""
    address, port = service.start_all(free_port(), workers=0), free_port()
    words = ("--dispatcher", address.removeprefix("grpc://"), "--port", port)
    workers = [service.start(*words)]
    assert process_says(workers[0], "Working for")

    def restart(step: int) -> None:
        if step == 3 and len(workers) == 1:
            workers[0].send_signal(signal.SIGKILL)
            workers[0].wait()
            workers.append(service.start(*words))
            assert process_says(workers[1], "Working for")

    found = epochs(with_service(config, address), records, 2, each=restart)
    for got, expected in zip(found, epochs(config, records, 2), strict=True):
        assert sorted(got) == sorted(expected)


def test_training_comes_to_the_same(address, tiny_config, tmp_path):
    losses = []
    for name, more in (("here", []), ("there", ["--set", f"data.service={address}"])):
        values = {**tiny_config, "data": {**tiny_config["data"], "memory": 0}}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
        assert main(["train", "--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / name), *more]) == 0
        with (tmp_path / name / "history.csv").open() as file:
            losses.append([row["loss"] for row in csv.DictReader(file)])
    assert losses[0] == losses[1] and len(losses[0]) == 2
    # Where the clips are made is no part of what a run is.
    words = ["train", "--resume", "--out", str(tmp_path / "there"), "--set", "data.service=null"]
    assert main([*words, "--config", str(tmp_path / "config.yaml")]) == 0


def test_a_damaged_record_is_named(service, config, free_port, tmp_path):
    data = config.data.model_copy(update={"records": str(tmp_path / "records")})
    records = prepare(data)
    shard = tmp_path / "records" / "shard-00000.tfrecord"
    content = bytearray(shard.read_bytes())
    for record in records.split("train"):
        content[record.offset + 40] ^= 1
    shard.write_bytes(content)
    address = service.start_all(free_port(), workers=1)
    with pytest.raises(KrespError, match=r"shard-00000\.tfrecord is damaged at byte"), service_errors():
        epochs(with_service(config, address), records, 1)


def test_a_dispatcher_that_is_not_there_is_said_at_once(config, records, free_port, capsys, service):
    address = f"grpc://127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(KrespError, match=r"data\.service: nobody answers at 127.*kresp3d data serve"):
        epochs(with_service(config, address), records, 1)
    assert time.monotonic() - began < 5
    assert main(["data", "serve", "--dispatcher", address]) == 1
    assert "--dispatcher: nobody answers at" in capsys.readouterr().err


def test_a_dispatcher_without_workers_is_not_waited_for_for_ever(service, config, records, free_port, monkeypatch):
    monkeypatch.setattr(module, "STALL", 0.5)
    monkeypatch.setattr(module, "PATIENCE", 2.0)
    address = service.start_all(free_port(), workers=0)
    with pytest.raises(KrespError, match=r"no worker of 127.* has sent a clip for 2 seconds"), service_errors():
        epochs(with_service(config, address), records, 1)


def test_a_server_ends_by_ctrl_c(service, free_port):
    port = free_port()
    service.start_all(port, workers=1)
    for process in reversed(service.processes):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stdout is not None and "Interrupted." in process.stdout.read()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "a"], "--host is for workers"),
        (["--dispatcher", "a"], "--dispatcher a: expected HOST:PORT"),
        (["--port", "70000"], "70000 is not in the range"),
    ],
)
def test_wrong_options_are_named(words, message, capsys):
    assert main(["data", "serve", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_service_has_an_address(capsys):
    assert main(["train", "--config", "configs/base.yaml", "--set", "data.service=host:1"]) == 2
    assert "data.service" in capsys.readouterr().err


class Source:
    """In place of the service: gives what `order(numbers)` says, and then nothing."""

    order = staticmethod(lambda numbers: numbers)

    def __init__(self, clip, address, numbers):
        self.items = [(number, (number, None)) for number in self.order(numbers)]

    def take(self, seconds):
        return self.items.pop(0) if self.items else None

    def close(self):
        self.items = []


def epoch(count, ahead, order):
    """The numbers of the clips of an epoch, as they come."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_Source", type("Fake", (Source,), {"order": staticmethod(order)}))
        patch.setattr(module, "_check", lambda address: None)
        patch.setattr(module, "AHEAD", ahead)
        patch.setattr(module, "PAUSE", 0.0)
        return [frames - 100 for frames, _ in module._epoch(None, Address("host", 1), 100, count)]


@given(st.data())
def test_every_clip_comes_once_whatever_gets_lost(data):
    rounds = itertools.count()

    def order(numbers):
        # From the fourth time on, nothing gets lost any more.
        lost = data.draw(st.integers(0, len(numbers))) if next(rounds) < 3 else 0
        return data.draw(st.permutations(numbers))[lost:]

    count = data.draw(st.integers(1, 40), label="clips")
    found = epoch(count, data.draw(st.integers(1, 8), label="ahead"), order)
    assert sorted(found) == list(range(count))


def test_clips_come_in_order_unless_one_is_far_behind():
    def come(*order):
        return epoch(len(order), 4, lambda numbers: [100 + number for number in order])

    assert come(2, 0, 1, 3, 5, 4) == [0, 1, 2, 3, 4, 5]
    assert come(1, 2, 3, 4, 5, 0, 6) == [1, 2, 3, 4, 5, 0, 6]

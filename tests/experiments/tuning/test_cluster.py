"""One chief and its workers, as processes of their own on this machine."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from kresp3d.experiments.tuning.cluster import check_free, set_environment, wait_for_chief
from kresp3d.experiments.tuning.journal import Ended, Journal
from kresp3d.system.address import Address
from kresp3d.system.errors import KrespError, UsageError

SPACE = {"model.attention": "bool", "model.step": {"choice": [1, 2, 4]}}


@pytest.fixture
def port(free_port):
    return free_port()


@pytest.fixture
def member(tmp_path, port):
    """`member(*arguments, seconds=0.1, config="tune.yaml")` starts `kresp3d tune` as a chief or worker."""
    (tmp_path / "tune.yaml").write_text(yaml.safe_dump({"tune": {"space": SPACE}}))
    processes = []

    def start(*arguments, seconds=0.1, config="tune.yaml"):
        command = [sys.executable, Path(__file__).with_name("member.py"), "tune", "--config", tmp_path / config]
        command += ["--out", tmp_path / "sweep", "--chief", f"127.0.0.1:{port}", *arguments]
        environment = {**os.environ, "MEMBER_NOTES": str(tmp_path / "notes"), "MEMBER_SECONDS": str(seconds)}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.stdout.close()


def notes(tmp_path):
    path = tmp_path / "notes"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.once
def test_every_trial_is_run_once_and_a_killed_workers_trial_by_another_and_the_chief_ends(member, tmp_path):
    first = member("--worker", "first", seconds=600)
    chief = member("--patience", "8")
    # The first one dies in its first trial, which would have taken ten minutes. Only then comes the second one, which
    # could otherwise be done with all of them before.
    wait_until(lambda: notes(tmp_path))
    [(lost, _)] = notes(tmp_path)
    first.kill()
    second = member("--worker", "second")
    said, _ = chief.communicate(timeout=120)
    worker_said, _ = second.communicate(timeout=60)
    assert (chief.returncode, second.returncode) == (0, 0), said + worker_said
    runs = Counter(trial for trial, _ in notes(tmp_path))
    assert runs == {f"{n:04}": 2 if f"{n:04}" == lost else 1 for n in range(6)}
    ends = [e for e in Journal(tmp_path / "sweep" / "journal.jsonl").events if isinstance(e, Ended)]
    assert Counter(e.trial for e in ends if e.outcome.status == "done") == Counter(runs.keys())
    assert [e.trial for e in ends if e.outcome.status == "lost"] == [lost]
    with (tmp_path / "sweep" / "trials.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done"] * 6
    assert "Worker first gave no sign for 8 s" in said and "6 of 6 trials" in said
    assert "no more trials" in worker_said
    assert (tmp_path / "sweep" / "best.yaml").exists() and (tmp_path / "sweep" / "report.md").exists()


@pytest.mark.slow
@pytest.mark.once
def test_a_worker_with_another_configuration_is_sent_away(member, tmp_path):
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"seed": 1, "tune": {"space": SPACE}}))
    member()
    worker = member("--worker", "1", config="other.yaml")
    said, _ = worker.communicate(timeout=60)
    assert worker.returncode == 2 and "give chief and workers the same file" in said and "Traceback" not in said


@pytest.mark.parametrize("name", ["", "chief", "mischief"])
def test_a_worker_cannot_have_a_name_that_keras_tuner_takes_for_the_chiefs(name):
    with pytest.raises(UsageError, match="choose another"):
        set_environment(Address("127.0.0.1", 8000), name)


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address("127.0.0.1", server.getsockname()[1])
        with pytest.raises(KrespError, match=rf"cannot listen on {address}: .*free"):
            check_free(address)


def test_a_worker_says_what_it_waits_for_and_goes_on_when_it_is_there(port):
    address, said, servers = Address("127.0.0.1", port), [], []

    def say(sentence):
        said.append(sentence)
        if not servers:
            servers.append(socket.create_server(("127.0.0.1", port)))

    wait_for_chief(address, say, interval=0.01)
    servers[0].close()
    assert said[0].startswith(f"Waiting for the chief at {address}") and said[1:] == ["The chief is there."]

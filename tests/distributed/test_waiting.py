from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from kresp3d.distributed import waiting

#: Ends when it is told to, or killed.
COMMAND = """
import os, subprocess, sys
script, *words = sys.argv[1:]
watch = subprocess.Popen([sys.executable, "-I", "-S", script, str(os.getpid()), *words])
sys.stdin.read()
watch.kill()
"""


@pytest.fixture
def taken():
    """An address at which somebody answers, and one at which nobody does."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        one.listen()
        other.bind(("127.0.0.1", 0))
        yield tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other))


def test_an_address_without_an_answer_has_a_reason(taken):
    there, gone = taken
    assert waiting.unreachable(there) is None
    assert waiting.unreachable(gone) == "Connection refused"
    assert waiting.unreachable("nowhere.invalid:1") is not None


def start(*words):
    command = [sys.executable, "-c", COMMAND, waiting.__file__, *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_who_is_missing_is_said_and_when_patience_ends_the_process_is_ended(taken):
    there, gone = taken
    process = start("worker 1 of 3", 0.1, 0.35, there, gone)
    assert process.wait(30) == -9
    *warnings, last = process.stderr.read().splitlines()
    assert set(warnings) == {f"WARNING: worker 1 of 3 waits for {gone} (Connection refused)"}
    assert last.startswith("Error: worker 1 of 3 waited ") and gone in last and there not in last


def test_while_all_are_there_it_says_nothing_and_it_goes_with_its_parent(taken):
    process = start("worker 1 of 2", 0.05, 0.1, taken[0])
    time.sleep(0.5)
    process.communicate("", timeout=30)
    assert process.returncode == 0

    process = start("worker 1 of 2", 0.05, 60, taken[1])
    assert process.stderr.readline().startswith("WARNING")
    process.kill()
    # Its standard error is open as long as it is there.
    assert len(process.communicate(timeout=30)[1].splitlines()) < 100

from __future__ import annotations

import os
import subprocess
import sys
import time


def test_a_training_ends_with_the_process_that_started_it():
    # The module with a main that would go on for a minute.
    program = (
        "import sys, threading, time\n"
        "from kresp3d.cli import child\n"
        "threading.Thread(target=child.end_with_parent, daemon=True).start()\n"
        "print('up', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    assert process.poll() is None
    # What the system does to this end when its process is killed.
    began = time.monotonic()
    os.close(process.stdin.fileno())
    assert process.wait(timeout=20) == 1 and time.monotonic() - began < 20
    process.stdin = None


def test_it_takes_the_words_of_the_command_line():
    command = [sys.executable, "-m", "kresp3d.cli.child", "train", "--config", "missing.yaml"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.wait() == 2 and "configuration file not found: missing.yaml" in process.stderr.read()

import os
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import os, sys, signal
# Ignored, if these tests run in a script's background.
signal.signal(signal.SIGINT, signal.default_int_handler)
from kresp3d.system.last_words import last_words
with last_words("Memory ran out."):
    print("in", flush=True)
    exec(sys.argv[1])
print("out", flush=True)
"""


def run(statement: str, send: signal.Signals | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, statement],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    if send is not None:
        # As from a terminal, to the whole group.
        os.killpg(process.pid, send)
    # Standard error stays open as long as the witness lives.
    out, err = process.communicate(timeout=30)
    return subprocess.CompletedProcess([], process.returncode, out, err)


@pytest.mark.parametrize(
    "statement", ["os.kill(os.getpid(), signal.SIGKILL)", "os.abort()", "os.kill(os.getpid(), signal.SIGTERM)"]
)
def test_a_process_that_dies_is_spoken_for(statement):
    done = run(statement)
    assert done.returncode < 0
    assert done.stderr.splitlines()[-1] == "Memory ran out."


def test_a_killed_group_is_spoken_for():
    assert run("import time; time.sleep(60)", signal.SIGKILL).stderr == "Memory ran out.\n"


def test_one_that_ends_by_itself_has_no_last_words():
    assert run("pass").stderr == ""
    failed = run("raise ValueError")
    assert failed.returncode == 1 and "Memory" not in failed.stderr


def test_ctrl_c_has_no_last_words():
    begin = time.monotonic()
    interrupted = run("import time; time.sleep(60)", signal.SIGINT)
    assert "KeyboardInterrupt" in interrupted.stderr and "Memory" not in interrupted.stderr
    assert time.monotonic() - begin < 30

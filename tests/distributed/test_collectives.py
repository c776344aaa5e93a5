"""Two processes that tell each other something."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np


def test_all_workers_have_what_the_chief_has_and_learn_what_differs():
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{probe.getsockname()[1]}" for probe in (one, other)]
    script = Path(__file__).with_name("collective_worker.py")
    processes = [
        subprocess.Popen(
            [sys.executable, script],
            env=os.environ
            | {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})},
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    chief, worker = (json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert (chief.pop("share"), worker.pop("share")) == ([0, 2, 1], [1, 2, 1])
    assert chief == worker
    assert chief["types"] == ["float32", "uint32", "bool", "int32"]
    # Nothing is rounded on the way.
    np.testing.assert_array_equal(np.array(chief["arrays"][0], np.float32), np.array([0.1, -2.5e-8, 3e20], np.float32))
    assert chief["arrays"][1:] == [[[2**32 - 1, 7]], [True, False], []]
    assert (chief["text"], chief["nothing"], chief["variable"]) == ("größer als 0", "", [3.0, 4.0])
    assert chief["told"] == (
        f"the worker at {addresses[1]} has videos other than the one at {addresses[0]}; give all hosts the same "
        "command, kresp3d and videos"
    )

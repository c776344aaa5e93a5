from __future__ import annotations

import os

import pytest

from kresp3d.system import machine

GIB = 2**30
CPUINFO = """processor\t: 0
model name\t: A processor
flags\t\t: fpu sse4_2 avx avx2 avx512f amx_bf16

processor\t: 1
flags\t\t: fpu
"""


def test_flags_are_those_of_the_first_cpu() -> None:
    assert machine.cpu_flags(CPUINFO) == {"fpu", "sse4_2", "avx", "avx2", "avx512f", "amx_bf16"}


@pytest.mark.parametrize("cpuinfo", [None, "", "processor\t: 0\n"])
def test_flags_that_are_not_given_are_none(cpuinfo: str | None) -> None:
    assert machine.cpu_flags(cpuinfo) == frozenset()


def test_the_name_is_that_of_the_first_cpu_where_it_is_given() -> None:
    assert machine.cpu_model(CPUINFO) == "A processor"
    assert machine.cpu_model(None) is None and machine.cpu_model("processor\t: 0\n") is None


def test_a_containers_limit_counts_as_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": "MemTotal:       16777216 kB\nMemAvailable:   8388608 kB\n",
        "/sys/fs/cgroup/memory.max": f"{4 * GIB}\n",
        "/sys/fs/cgroup/memory.current": f"{3 * GIB}\n",
    }
    monkeypatch.setattr(machine, "read_text", files.get)
    assert machine.memory() == (4 * GIB, 1 * GIB)
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert machine.memory() == (16 * GIB, 8 * GIB)


def test_unknown_memory_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "read_text", lambda path: None)
    assert machine.memory() == (None, None)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot restrict a process to some cores")
def test_only_the_cores_of_this_process_are_counted() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine.count_cores() == 1
    finally:
        os.sched_setaffinity(0, before)

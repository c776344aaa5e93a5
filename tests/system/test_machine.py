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


MEMINFO = "MemTotal:       16777216 kB\nMemAvailable:   12582912 kB\n"


def test_files_that_were_read_are_not_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": MEMINFO,
        "/sys/fs/cgroup/memory.max": f"{4 * GIB}\n",
        "/sys/fs/cgroup/memory.current": f"{4 * GIB}\n",
        "/sys/fs/cgroup/memory.stat": f"anon {GIB}\nactive_file {GIB}\ninactive_file {2 * GIB}\n",
    }
    monkeypatch.setattr(machine, "read_text", files.get)
    assert machine.memory() == (4 * GIB, 3 * GIB)


def test_the_limit_of_the_first_version_of_control_groups_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    root = "/sys/fs/cgroup/memory"
    files = {
        "/proc/meminfo": MEMINFO,
        "/proc/self/cgroup": "9:cpu,cpuacct:/\n4:memory:/\n0::/\n",
        f"{root}/memory.limit_in_bytes": f"{6 * GIB}\n",
        f"{root}/memory.usage_in_bytes": f"{5 * GIB}\n",
        f"{root}/memory.stat": f"cache {7 * GIB}\ntotal_active_file {GIB}\ntotal_inactive_file {GIB}\n",
    }
    monkeypatch.setattr(machine, "read_text", files.get)
    assert machine.memory() == (6 * GIB, 3 * GIB)
    # Which says in a number that there is none.
    files[f"{root}/memory.limit_in_bytes"] = "9223372036854771712\n"
    assert machine.memory() == (16 * GIB, 12 * GIB)


@pytest.mark.parametrize(
    ("listed", "folder", "limit", "used"),
    [
        ("0::/system.slice/job_7.scope/step\n", "/sys/fs/cgroup/system.slice/job_7.scope", "memory.max", "current"),
        (
            "0::/elsewhere\n4:cpu,memory:/slurm/job_7/step\n",
            "/sys/fs/cgroup/memory/slurm/job_7",
            "memory.limit_in_bytes",
            "usage_in_bytes",
        ),
    ],
)
def test_what_a_scheduler_limits_further_down_counts(
    monkeypatch: pytest.MonkeyPatch, listed: str, folder: str, limit: str, used: str
) -> None:
    files = {
        "/proc/meminfo": MEMINFO,
        "/proc/self/cgroup": listed,
        f"{folder}/{limit}": f"{2 * GIB}\n",
        f"{folder}/memory.{used}": f"{GIB}\n",
    }
    monkeypatch.setattr(machine, "read_text", files.get)
    assert machine.memory() == (2 * GIB, GIB)


def test_a_process_has_in_use_what_the_system_says() -> None:
    resident, peak = machine.resident_memory(), machine.peak_memory()
    assert resident is not None and peak is not None and 2**20 < resident <= peak


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

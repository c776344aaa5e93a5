"""What the system says about this machine. Linux says all of it; elsewhere what is not known is left out."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use, in a container often fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(usable_cores())


def cpu_flags(cpuinfo: str | None) -> frozenset[str]:
    """Read the flags of the first CPU, such as `avx2`; empty where they are not given.

    Args:
        cpuinfo: The text of `/proc/cpuinfo`; `None` where there is none.
    """
    for line in (cpuinfo or "").splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() in {"flags", "Features"}:
            return frozenset(value.split())
    return frozenset()


def cpu_model(cpuinfo: str | None) -> str | None:
    """Read the name of the first CPU; `None` where it is not given.

    Args:
        cpuinfo: The text of `/proc/cpuinfo`; `None` where there is none.
    """
    for line in (cpuinfo or "").splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == "model name":
            return value.strip()
    return None


def memory() -> tuple[int | None, int | None]:
    """Bytes of memory in all and available, within a container's or a job's limit; `None` where it is not known."""
    lines = (line.partition(":") for line in (read_text("/proc/meminfo") or "").splitlines())
    values = {key: int(value.split()[0]) * 1024 for key, _, value in lines}
    total, available = values.get("MemTotal"), values.get("MemAvailable")
    if total is None or available is None:
        return total, available
    for limit, used in _limits():
        total, available = min(total, limit), min(available, max(0, limit - used))
    return total, available


#: Of both versions of Linux's control groups: what `/proc/self/cgroup` calls them, where they are, the limit, what is
#: in use, and what begins the names of that part of it which is files that were read: it gives way when memory is
#: asked for.
_GROUPS = (
    ("", "/sys/fs/cgroup", "memory.max", "memory.current", ""),
    ("memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
)


def _limits() -> list[tuple[int, int]]:
    """The limit of each control group that this process is in, and the bytes in use there, files that were read aside.

    A container sees its own group as the root; what a scheduler has limited, as Slurm does, is further down.
    """
    own = [line.split(":", 2) for line in (read_text("/proc/self/cgroup") or "").splitlines() if line.count(":") >= 2]
    found = []
    for kind, root, limit_name, used_name, prefix in _GROUPS:
        path = next((path for _, kinds, path in own if kind in kinds.split(",")), "")
        parts = [part for part in path.split("/") if part not in ("", "..")]
        files = (f"{prefix}active_file", f"{prefix}inactive_file")
        for depth in range(len(parts) + 1):
            folder = "/".join([root, *parts[:depth]])
            limit, used = read_text(f"{folder}/{limit_name}"), read_text(f"{folder}/{used_name}")
            if not (limit and limit.strip().isdigit() and used):
                continue
            rows = [line.split() for line in (read_text(f"{folder}/memory.stat") or "").splitlines()]
            cached = sum(int(row[1]) for row in rows if len(row) == 2 and row[0] in files)
            found.append((int(limit), max(0, int(used) - cached)))
    return found


def read_text(path: str) -> str | None:
    """Read one of the system's files; `None` where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def peak_memory() -> int | None:
    """Most bytes of memory this process has had in use so far; `None` where it is not known.

    Not `getrusage`, which after a fork also counts what the parent had in use.
    """
    return _of_this_process("VmHWM")


def resident_memory() -> int | None:
    """Bytes of memory this process has in use; `None` where it is not known."""
    return _of_this_process("VmRSS")


def _of_this_process(name: str) -> int | None:
    for line in (read_text("/proc/self/status") or "").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None

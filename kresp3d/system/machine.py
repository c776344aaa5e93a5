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
    """Bytes of memory in all and available, within a container's limit; `None` where it is not known."""
    lines = (line.partition(":") for line in (read_text("/proc/meminfo") or "").splitlines())
    values = {key: int(value.split()[0]) * 1024 for key, _, value in lines}
    total, available = values.get("MemTotal"), values.get("MemAvailable")
    limit, used = read_text("/sys/fs/cgroup/memory.max"), read_text("/sys/fs/cgroup/memory.current")
    if total is None or available is None or not (limit and limit.strip().isdigit() and used):
        return total, available
    return min(total, int(limit)), min(available, max(0, int(limit) - int(used)))


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
    for line in (read_text("/proc/self/status") or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None

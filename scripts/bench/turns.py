"""Contenders that take turns, each in a process of its own, so that what else the machine does meets all alike.

A ratio is the median of those of the rounds. The CPU time, of all threads together, depends less on what else runs; it
tells the work, not how well threads share it.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from kresp3d.system.machine import cpu_flags, cpu_model, peak_memory, read_text
from kresp3d.system.quiet import quieten

Work = Callable[[], Any]


@dataclass(frozen=True)
class Turn:
    """Seconds of one piece of work, by the clock and of all threads together."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Measured:
    """What a contender took.

    Attributes:
        turns: One for each round.
        memory: Most bytes of memory that the process had, its libraries included; `None` where it is not known.
    """

    turns: list[Turn]
    memory: int | None

    @property
    def wall(self) -> float:
        """Median seconds by the clock."""
        return statistics.median(turn.wall for turn in self.turns)

    @property
    def cpu(self) -> float:
        """Median seconds of all threads together."""
        return statistics.median(turn.cpu for turn in self.turns)

    def ratios(self, base: Measured) -> list[float]:
        """Time as a multiple of the base's, round by round."""
        return [own.wall / other.wall for own, other in zip(self.turns, base.turns, strict=True)]


def take_turns(contenders: Mapping[str, Callable[[], Work]], rounds: int, seconds: float = 0.5) -> dict[str, Measured]:
    """Time the work of each contender, `rounds` times.

    Args:
        contenders: By name, what makes the work: it is called in a new process, so that it must be picklable, and what
            it imports is loaded there. The work is then done once, uncounted.
        rounds: How often everybody has a turn.
        seconds: Work that takes less is repeated within a turn, and the mean taken.

    Raises:
        RuntimeError: If a contender ended early, as one does that needs more memory than there is.
    """
    context = multiprocessing.get_context("spawn")
    ends: dict[str, Connection] = {}
    processes = []
    for name, make in contenders.items():
        ends[name], other = context.Pipe()
        processes.append(context.Process(target=_contend, args=(make, seconds, other), daemon=True))
        processes[-1].start()
        other.close()
        _receive(name, ends[name])  # is ready
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, end in ends.items():
            end.send("turn")
            turns[name].append(_receive(name, end))
            print(f"{number + 1}/{rounds} {name}: {turns[name][-1].wall:.3f} s", file=sys.stderr, flush=True)
    measured = {}
    for name, end in ends.items():
        end.send("memory")
        measured[name] = Measured(turns[name], _receive(name, end))
    for process in processes:
        process.terminate()
        process.join()
    return measured


def print_rates(things: str, measured: Mapping[str, Measured], counts: Mapping[str, int], base: str) -> None:
    """Print who gave how many things a second.

    Args:
        things: What they are.
        measured: The contenders.
        counts: Things that each gave in a turn.
        base: With whom the others are compared.
    """
    print(f"| {things} from | {things}/s | CPU time of one | as many as {base} |")
    print("|---|---:|---:|---:|")
    for name, times in measured.items():
        count = counts[name]
        ratios = [count / counts[base] / ratio for ratio in times.ratios(measured[base])]
        print(
            f"| {name} | {count / times.wall:.0f} | {1000 * times.cpu / count:.2f} ms "
            f"| **{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


def cpu_name() -> str:
    """What Linux calls the CPU, with what it has for bfloat16."""
    cpuinfo = read_text("/proc/cpuinfo")
    bfloat16 = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in cpu_flags(cpuinfo)]
    return f"{cpu_model(cpuinfo) or 'unknown CPU'} ({', '.join(bfloat16) or 'no bfloat16'})"


def _receive(name: str, end: Connection) -> Any:
    try:
        return end.recv()
    except EOFError:
        raise RuntimeError(f"{name} ended early; what it needs may be more memory than there is") from None


def _contend(make: Callable[[], Work], seconds: float, connection: Connection) -> None:
    quieten()
    work = make()
    work()
    begin = time.perf_counter()
    work()
    times = max(1, round(seconds / (time.perf_counter() - begin)))
    connection.send(None)
    while True:
        if connection.recv() == "memory":
            connection.send(peak_memory())
            continue
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            work()
        connection.send(Turn((time.perf_counter() - wall) / times, (time.process_time() - cpu) / times))

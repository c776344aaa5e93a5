"""How fast networks score clips, and how much memory they take."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kresp3d.inference.engine import Engine, Precision
from kresp3d.inference.open_engine import network_path
from kresp3d.inference.openvino_engine import weights_file
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.machine import count_cores, cpu_model, peak_memory, read_text
from kresp3d.system.quiet import quieten
from kresp3d.system.storage import RemotePath
from kresp3d.system.worker import Worker, WorkerDiedError

#: Rounds in which the networks take turns, so that what else the machine does meets all of them alike.
ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """Times of one batch size, in seconds for a whole batch."""

    batch: int
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median time of a batch."""
        return statistics.median(self.seconds)

    @cached_property
    def p90(self) -> float:
        """Time that nine of ten batches stay below."""
        return float(np.percentile(self.seconds, 90))

    @property
    def clips_per_second(self) -> float:
        """At the median."""
        return self.batch / self.median


@dataclass(frozen=True)
class Bench:
    """What was measured of one network.

    `peak_memory` are bytes of the whole process that loaded and ran it, Python and libraries included; `None` where
    the system does not tell. `threads` are those that the network might use. `cpu` names the processor, where it is
    known.
    """

    path: Path
    format: str
    quantize: str
    precision: Precision
    threads: int
    cpu: str | None
    size: int
    peak_memory: int | None
    timings: tuple[Timing, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **asdict(self),
            "path": str(self.path),
            "timings": [
                {
                    "batch": timing.batch,
                    "median_s": timing.median,
                    "p90_s": timing.p90,
                    "clips_per_second": timing.clips_per_second,
                    "runs": len(timing.seconds),
                }
                for timing in self.timings
            ],
        }


def bench(
    paths: Sequence[Path],
    *,
    batches: Sequence[int] = (1, 8),
    threads: int | None = None,
    precision: Precision = "float32",
    seconds: float = 5.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Bench]:
    """Time networks on random clips, each in a process of its own, taking turns.

    Args:
        paths: Run folders and exported networks.
        batches: Clips scored at once.
        threads: Threads that each may use; by default all cores.
        precision: See `open_engine`.
        seconds: How long each network runs at each batch size, over all rounds; at least `ROUNDS` batches are timed.
        progress: Called with the turns done and all turns.

    Raises:
        UsageError: If there are more threads than cores.
        KrespError: If a network cannot be loaded, or a process dies, as it does when memory runs out.
    """
    cores = count_cores()
    if threads is not None and threads > cores:
        # Far too many take so long to be started, and to wait for each other, that nothing seems to happen.
        raise UsageError(f"--threads {threads} is more than the {cores} cores that this process may use")
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker(path, precision, threads)) for path in paths]
        times: dict[tuple[int, int], list[float]] = {(w, b): [] for w in range(len(workers)) for b in batches}
        turns = [(w, b) for _ in range(ROUNDS) for b in batches for w in range(len(workers))]
        for done, (w, b) in enumerate(turns, 1):
            times[w, b] += workers[w].call(_time, b, seconds / ROUNDS)
            if progress is not None:
                progress(done, len(turns))
        return [
            Bench(
                path=path,
                **worker.call(_describe),
                precision=precision,
                threads=threads or cores,
                cpu=cpu_model(read_text("/proc/cpuinfo")),
                size=size_on_disk(path),
                timings=tuple(Timing(b, tuple(times[w, b])) for b in batches),
            )
            for w, (path, worker) in enumerate(zip(paths, workers, strict=True))
        ]


def size_on_disk(path: Path) -> int:
    """Bytes of an exported network with the files that belong to it; of a run, its `model.keras`.

    Of a folder of versions it is the size of the one that `open_engine` takes.
    """
    if (path / "config.yaml").is_file():
        return (path / "model.keras").stat().st_size
    path = network_path(path)
    if isinstance(path, RemotePath):
        files: list[Path] = list(path.files()) if path.is_dir() else [path]
    else:
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    if path.name.removesuffix(".rejected").lower().endswith(".xml"):
        files.append(weights_file(path))
    return sum(file.stat().st_size for file in files)


def bench_table(rows: Sequence[Bench]) -> Table:
    """Time, rate and memory of networks of one `bench`, a row for each batch size, for the console."""
    how = f"Computed in {rows[0].precision}, quantised files as they were exported; {rows[0].threads} threads"
    title = Text(how + (f" of {rows[0].cpu}" if rows[0].cpu else ""))
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", overflow="fold")
    for column in ("batch", "median ms", "90 % ms", "clips/s", "size MB", "memory MB"):
        table.add_column(column, justify="right")
    for row in rows:
        for number, timing in enumerate(row.timings):
            first = number == 0
            table.add_row(
                Text(str(row.path) if first else ""),
                str(timing.batch),
                milliseconds(timing.median),
                milliseconds(timing.p90),
                f"{timing.clips_per_second:.1f}",
                megabytes(row.size) if first else "",
                megabytes(row.peak_memory) if first else "",
            )
    return table


def milliseconds(seconds: float | None) -> str:
    """A time for a table, without its unit."""
    return "" if seconds is None else f"{1000 * seconds:.1f}"


def megabytes(count: int | None) -> str:
    """A number of bytes for a table, in MB without the unit."""
    return "" if count is None else f"{count / 1e6:.{1 if count < 1e8 else 0}f}"


class _Worker:
    """A process that holds one network."""

    def __init__(self, path: Path, precision: Precision, threads: int | None) -> None:
        self.path = path
        self.arguments = (path, precision, threads)

    def __enter__(self) -> _Worker:
        self.worker = Worker()
        self.call(_load, *self.arguments)
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.close()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self.worker.run(function, *arguments)
        except WorkerDiedError:
            raise KrespError(
                f"{self.path}: the process that runs it died, probably since memory ran out; lower --batch"
            ) from None


#: The network of this process, in worker processes alone.
_engine: Engine | None = None


def _load(path: Path, precision: Precision, threads: int | None) -> None:
    # Before TensorFlow is loaded, for libraries that ask the environment alone.
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)

    quieten()

    from kresp3d.inference.open_engine import open_engine

    global _engine
    _engine = open_engine(path, precision=precision, threads=threads)


def _time(batch: int, seconds: float) -> list[float]:
    engine = _loaded()
    frames = np.random.default_rng(0).integers(0, 256, (batch, *engine.info.clip.shape), np.uint8)
    # The first call at a batch size allocates, and wakes the cores.
    engine.probabilities(frames)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        engine.probabilities(frames)
        times.append(time.perf_counter() - begin)
    return times


def _describe() -> dict[str, Any]:
    engine = _loaded()
    return {"format": engine.info.format, "quantize": engine.info.quantize, "peak_memory": peak_memory()}


def _loaded() -> Engine:
    if _engine is None:
        raise RuntimeError("no network was loaded in this process")
    return _engine

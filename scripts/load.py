"""Whether engines keep giving right answers, and no more memory, when many threads ask them at once.

    python scripts/load.py saved_models/base/1 saved_models/base/base.xml --data data/…/walk --minutes 10

All networks are opened in one process. Threads ask one of them after another, mostly for clips of real videos whose
scores were computed before, alone; every fourth request is a bad one: of another shape, another type, no clips, no
array. A right answer is within the tolerance of the one before; a bad request has to be refused in a sentence. The exit
code is 1 if an answer was wrong or failed, or a bad request was taken.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from process_state import held

from kresp3d.inference.engine import Engine
from kresp3d.inference.open_engine import open_engine
from kresp3d.inference.predictor import find_all
from kresp3d.records.video_clips import read_clips
from kresp3d.system.errors import KrespError

#: Largest difference of a probability between one time and another.
TOLERANCE = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of videos")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()

    engines = [open_engine(path) for path in options.networks]
    videos = find_all([options.data])[:8]
    good = {engine: good_requests(engine, videos) for engine in engines}
    load = Load(good)
    threads = [threading.Thread(target=load.ask, args=(seed,), daemon=True) for seed in range(options.threads)]
    for thread in threads:
        thread.start()
    begin, seen = time.monotonic(), []
    while time.monotonic() - begin < 60 * options.minutes:
        time.sleep(min(5, 6 * options.minutes))
        seen.append((time.monotonic() - begin, *held()))
    load.stop.set()
    for thread in threads:
        thread.join()
    report(load, seen, options)
    sys.exit(any(counts[name] for counts in load.counts.values() for name in ("wrong", "failed", "taken")))


def good_requests(engine: Engine, videos: list[Path]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Clips of each video, one to four of them, with their scores."""
    requests = []
    for number, video in enumerate(videos):
        clips = read_clips(video, engine.info.clip, clips=1 + number % 4)
        requests.append((clips, engine.probabilities(clips)))
    return requests


class Load:
    """What the threads do, and what they have found."""

    def __init__(self, good: dict[Engine, list[tuple[np.ndarray, np.ndarray]]]) -> None:
        self.good = good
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.counts: dict[Engine, Counter[str]] = {engine: Counter() for engine in good}
        # Small, since the memory of this process is measured.
        self.seconds: dict[Engine, array[float]] = {engine: array("d") for engine in good}
        self.failures: list[str] = []

    def ask(self, seed: int) -> None:
        """Ask until told to stop; `seed` chooses what."""
        choose = random.Random(seed)
        engines = list(self.good)
        while not self.stop.is_set():
            engine = choose.choice(engines)
            if choose.random() < 0.25:
                outcome = self.ask_badly(engine, choose)
                with self.lock:
                    self.counts[engine][outcome] += 1
                continue
            clips, scores = choose.choice(self.good[engine])
            begin = time.perf_counter()
            try:
                right = np.abs(engine.probabilities(clips) - scores).max() <= TOLERANCE
                outcome = "right" if right else "wrong"
            except Exception as error:  # any is a failure, and is counted
                outcome = "failed"
                self.failures.append(f"{engine.info.format}: {type(error).__name__}: {error}")
            with self.lock:
                self.counts[engine][outcome] += 1
                self.seconds[engine].append(time.perf_counter() - begin)

    def ask_badly(self, engine: Engine, choose: random.Random) -> str:
        """Make a bad request, and say what became of it."""
        clips = self.good[engine][0][0]
        bad: list[Any] = [
            clips[:, 1:],
            clips[..., :2],
            clips[0],
            clips[:0],
            clips.astype(np.float32),
            clips.astype(np.int64),
            np.zeros((), np.uint8),
            np.array(["walk"]),
        ]
        try:
            engine.probabilities(choose.choice(bad))
        except KrespError:
            return "refused"
        except Exception as error:  # any other is a failure, and is counted
            self.failures.append(f"{engine.info.format}, bad request: {type(error).__name__}: {error}")
            return "failed"
        return "taken"


def report(load: Load, seen: list[tuple[float, int, int, int]], options: argparse.Namespace) -> None:
    print(f"{options.threads} threads, {options.minutes:g} minutes\n")
    print("| network | right | wrong | failed | bad ones refused | bad ones taken | median | 99 % |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for engine, counts in load.counts.items():
        seconds = sorted(load.seconds[engine]) or [float("nan")]
        columns = [f"{counts[name]:,}" for name in ("right", "wrong", "failed", "refused", "taken")]
        columns += [f"{1000 * statistics.median(seconds):.0f} ms", f"{1000 * seconds[int(0.99 * len(seconds))]:.0f} ms"]
        print(f"| {engine.info.format}, {engine.info.quantize} | {' | '.join(columns)} |")
    # Memory rises as long as more large requests come together than ever before, so the first half warms up.
    later = np.array(seen[len(seen) // 2 :])
    for column, name in enumerate(("resident MiB", "open files", "threads"), 1):
        values = later[:, column] / (2**20 if name == "resident MiB" else 1)
        slope = np.polyfit(later[:, 0] / 3600, values, 1)[0] if len(later) > 1 else float("nan")
        print(
            f"\n{name}: {values[0]:.1f} after half of the time, {values[-1]:.1f} at last, {slope:+.1f} an hour", end=""
        )
    print()
    for failure in load.failures[:10]:
        print(failure)


if __name__ == "__main__":
    main()

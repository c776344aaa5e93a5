"""How much faster two processes are than one, each on a core of its own: training, preparing and scoring.

    python scripts/bench/scaling.py runs/base

takes the configuration, the network and the videos of a finished run. Training is `training.strategy: multi_worker` on
127.0.0.1, and its speed that of the epochs after the first. To prepare and to score, the videos are dealt to the
processes, as a pipeline deals them; the time is that of the slowest, its start included. One and two take turns.

The first row multiplies matrices, which share nothing but the machine: what is less than 2 there, the cores
have in common.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from turns import cpu_name

from kresp3d.datasets.catalog import load_catalog
from kresp3d.datasets.source import resolve_videos
from kresp3d.runs.run_folder import RunFolder

MATRICES = "import numpy as np, time; a = np.ones((1500, 1500), np.float32)\nfor _ in range(60): a @ a"
PORTS = (2741, 2742)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: %(default)s)")
    parser.add_argument("--videos", type=int, default=200, help="to prepare and to score (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=["matrices", "training", "preparing", "scoring"])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="in training")
    options = parser.parse_args()

    run = RunFolder.open(options.run)
    with tempfile.TemporaryDirectory(prefix="scaling-") as name:
        folder = Path(name)
        works: dict[str, Callable[[int], float]] = {
            "matrices, jobs a second": _multiply,
            "training, clips a second": lambda count: _train(run, folder, count, options.set),
            "preparing, videos a second": lambda count: _prepare(run, folder, options.videos, count),
            "scoring, videos a second": lambda count: _score(run, folder, options.videos, count),
        }
        print(f"{cpu_name()}, {options.rounds} rounds, {options.videos} videos\n")
        print("| | 1 process | 2 processes | times as fast |\n|---|---:|---:|---:|")
        for work, rate in works.items():
            if options.only and work.partition(",")[0] not in options.only:
                continue
            found: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(options.rounds):
                for count, rates in found.items():
                    rates.append(rate(count))
            ratios = [two / one for one, two in zip(found[1], found[2], strict=True)]
            one, two = (statistics.median(rates) for rates in found.values())
            spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"| {work} | {one:.3g} | {two:.3g} | **{statistics.median(ratios):.2f}** {spread} |", flush=True)


def _together(commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]]) -> tuple[float, list[str]]:
    """How long commands take that run at the same time, each on a core of its own, and what they print."""
    cores = sorted(os.sched_getaffinity(0))
    begin = time.perf_counter()
    started = [
        subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for core, command, environment in zip(cores, commands, environments, strict=False)
    ]
    outputs = [process.communicate()[0] for process in started]
    seconds = time.perf_counter() - begin
    for process, output in zip(started, outputs, strict=True):
        if process.returncode:
            raise RuntimeError(output)
    return seconds, outputs


def _multiply(count: int) -> float:
    seconds, _ = _together([[sys.executable, "-c", MATRICES]] * count, [{}] * count)
    return count / seconds


def _train(run: RunFolder, folder: Path, count: int, more: Sequence[str]) -> float:
    shutil.rmtree(folder / "run", ignore_errors=True)
    settings = ["training.epochs=4", "training.tensorboard_every=0", "training.tensorboard_clips=0"]
    settings += [
        f"training.strategy={'multi_worker' if count > 1 else 'none'}",
        f"data.records={run.records_folder}",
        *more,
    ]
    command = [sys.executable, "-m", "kresp3d", "train", "--config", str(run.config_file), "--out", str(folder / "run")]
    command += [word for setting in settings for word in ("--set", setting)]
    addresses = [f"127.0.0.1:{port}" for port in PORTS[:count]]
    environments = [
        {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}})}
        for number in range(count)
    ]
    _, outputs = _together([command] * count, environments if count > 1 else [{}])
    # Columns of the table: epoch, loss, top-1, validation loss and top-1, rate, clips a second.
    rows = re.findall(r"^ +(\d+)/\d+ +\S+ +\S+ +\S+ +\S+ +\S+ +([\d.]+) ", outputs[0], re.MULTILINE)
    return statistics.mean(float(rate) for epoch, rate in rows if int(epoch) > 1)


def _prepare(run: RunFolder, folder: Path, videos: int, count: int) -> float:
    commands = []
    for number, paths in enumerate(_dealt(run, videos, count)):
        shutil.rmtree(folder / f"records-{number}", ignore_errors=True)
        tree = folder / f"videos-{number}"
        shutil.rmtree(tree, ignore_errors=True)
        for path in paths:
            (tree / path.parent.name).mkdir(parents=True, exist_ok=True)
            (tree / path.parent.name / path.name).symlink_to(path)
        settings = [f"data.videos={tree}", f"data.records={folder / f'records-{number}'}", "data.workers=1"]
        command = [sys.executable, "-m", "kresp3d", "data", "prepare", "--config", str(run.config_file)]
        commands.append([*command, *(word for setting in settings for word in ("--set", setting))])
    return videos / _together(commands, [{}] * count)[0]


def _score(run: RunFolder, folder: Path, videos: int, count: int) -> float:
    command = [sys.executable, "-m", "kresp3d", "predict", str(run.path)]
    return videos / _together([[*command, *map(str, paths)] for paths in _dealt(run, videos, count)], [{}] * count)[0]


def _dealt(run: RunFolder, videos: int, count: int) -> list[list[Path]]:
    catalog = load_catalog(resolve_videos(run.config.data))
    paths = [video.path.resolve() for video in catalog.videos][:: max(1, len(catalog.videos) // videos)][:videos]
    return [paths[number::count] for number in range(count)]


if __name__ == "__main__":
    main()

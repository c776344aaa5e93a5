"""How time and memory grow with the videos, the length of clips and the classes.

    python scripts/bench/growth.py --folder /tmp/growth --plot docs/images/growth.png

Generates small videos (64×48 pixels, a second long unless clips are longer) and runs a command after another on them,
with a tiny network: `kresp3d data prepare` on all, `train` for an epoch of three fifths, `evaluate` and `predict` on a
fifth. Training holds no decoded videos (`data.memory: 0`; by default it does, up to 1 GiB). Seconds are by the clock;
memory is the most that any one process of the command had. What is measured is kept in `FOLDER/growth.json`, so that an
interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
from turns import cpu_name

COMMANDS = ("prepare", "train", "evaluate", "predict")
#: What is varied: the setting's name -> its values.
VARIED = {"videos": (100, 1_000, 10_000), "frames": (8, 16, 32, 64), "classes": (2, 10, 100, 700)}
#: The other settings then. Every class needs videos of every split.
FIXED = {
    "videos": {"frames": 8, "classes": 10},
    "frames": {"videos": 1_000, "classes": 10},
    "classes": {"videos": 3_500, "frames": 8},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for videos, records and runs; may be removed after")
    parser.add_argument("--only", choices=VARIED, action="append", help="vary this alone; may be given more than once")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()

    options.folder.mkdir(parents=True, exist_ok=True)
    store = options.folder / "growth.json"
    found: dict[str, dict[str, list[float]]] = json.loads(store.read_text()) if store.exists() else {}
    varied = options.only or list(VARIED)
    for name in varied:
        for value in VARIED[name]:
            settings = {**FIXED[name], name: value}
            if key(settings) not in found:
                found[key(settings)] = measure(options.folder, settings)
                store.write_text(json.dumps(found, indent=2))

    print(f"{cpu_name()}; seconds, and memory of the largest process\n")
    for name in varied:
        print(f"| {name} | {' | '.join(COMMANDS)} |\n|---:|{'---:|' * len(COMMANDS)}")
        for value in VARIED[name]:
            cells = (f"{s:.0f} s, {m / 2**30:.2f} GiB" for s, m in found[key({**FIXED[name], name: value})].values())
            print(f"| {value:,} | {' | '.join(cells)} |")
        print()
    if options.plot:
        plot(found, varied, options.plot)


def key(settings: dict[str, int]) -> str:
    """A name for settings."""
    return " ".join(f"{name}={settings[name]}" for name in sorted(settings))


def measure(folder: Path, settings: dict[str, int]) -> dict[str, list[float]]:
    """Seconds and bytes of each of `COMMANDS`."""
    work = folder / key(settings).replace(" ", "-")
    shutil.rmtree(work, ignore_errors=True)
    catalog = write_videos(work, settings)
    values: dict[str, Any] = {
        "data": {"videos": str(catalog), "records": str(work / "records"), "short_side": 32, "memory": 0},
        "clip": {"augment": {"scales": [1.0]}},
        "model": {"frames": settings["frames"], "size": 32, "width": 4, "blocks": [1, 1], "expansion": 1, "fc1": 16},
        "training": {"epochs": 1, "batch_size": 16, "validation_clips": 1, "tensorboard_clips": 0},
        "evaluation": {"split": "test"},
    }
    config = work / "config.yaml"
    config.write_text(json.dumps(values))
    run = work / "run"
    commands = {
        "prepare": ["data", "prepare", "--config", config],
        "train": ["train", "--config", config, "--out", run],
        "evaluate": ["evaluate", run],
        "predict": ["predict", run, work / "test"],
    }
    taken = {name: timed([sys.executable, "-m", "kresp3d", *map(str, line)]) for name, line in commands.items()}
    print(
        key(settings), {name: f"{seconds:.1f} s" for name, (seconds, _) in taken.items()}, file=sys.stderr, flush=True
    )
    shutil.rmtree(work)
    return taken


def timed(command: list[str]) -> list[float]:
    """Run a command; seconds by the clock, and bytes of its largest process."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return [time.perf_counter() - begin, usage.ru_maxrss * 1024]


def write_videos(folder: Path, settings: dict[str, int]) -> Path:
    """Encode the videos, a fifth of them for each of validation and test, and return their CSV."""
    count, classes = settings["videos"], settings["classes"]
    rows = []
    for number in range(count):
        # Every class has videos of every split.
        split = ("train", "train", "train", "validation", "test")[number // classes % 5]
        path = folder / split / f"{number:06d}.mp4"
        rows.append([str(path), f"class {number % classes:03d}", split])
    for split in ("train", "validation", "test"):
        (folder / split).mkdir(parents=True)
    length = max(25, 2 * settings["frames"] + 4)
    with ProcessPoolExecutor() as pool:
        list(pool.map(encode, [row[0] for row in rows], range(count), [length] * count, chunksize=32))
    catalog = folder / "videos.csv"
    with catalog.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "split"], *rows])
    return catalog


def encode(path: str, number: int, frames: int) -> None:
    """A bar that moves."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height = 64, 48
        picture = np.full((48, 64, 3), number % 200, np.uint8)
        for time_index in range(frames):
            shown = picture.copy()
            shown[:, (number + time_index) % 60 :][:, :4] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, "rgb24")))
        container.mux(stream.encode())


def plot(found: dict[str, dict[str, list[float]]], varied: list[str], path: Path) -> None:
    """Seconds and memory over each setting, on logarithmic axes; a dotted line shows proportional growth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(varied), 5.6), layout="constrained")
    axes = figure.subplots(2, len(varied), squeeze=False, sharey="row")
    for column, name in enumerate(varied):
        values = VARIED[name]
        rows = [found[key({**FIXED[name], name: value})] for value in values]
        for command in COMMANDS:
            axes[0, column].plot(values, [row[command][0] for row in rows], "o-", label=command)
            axes[1, column].plot(values, [row[command][1] / 2**30 for row in rows], "o-")
        highest = max(row[command][0] for row in rows for command in COMMANDS)
        axes[0, column].plot(values, [highest * value / values[-1] for value in values], ":", color="#666666")
        axes[0, column].set(xscale="log", yscale="log", title={"frames": "frames of a clip"}.get(name, name))
        axes[1, column].set(xscale="log")
        for axis in axes[:, column]:
            axis.set_xticks(values, [f"{value:,}" for value in values])
            axis.minorticks_off()
    axes[0, 0].set_ylim(1, None)
    axes[0, 0].set_ylabel("seconds (dotted: in proportion)")
    axes[1, 0].set_ylim(0, None)
    axes[1, 0].set_ylabel("GiB of the largest process")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(COMMANDS))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

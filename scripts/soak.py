"""Whether a long training keeps its memory, open files and threads, and how much disk its checkpoints take.

    python scripts/soak.py --config configs/base.yaml --set clip.per_video=64 --minutes 120 --folder /tmp/soak \
        --plot docs/images/soak.png

Trains as `kresp3d train` does, for as long, and looks at the process every few seconds. What is seen is added to
`FOLDER/soak.csv`; an interrupted soak goes on with the training and the rest of the time.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from process_state import held

COLUMNS = ("minutes", "start", "memory", "files", "threads", "checkpoints", "epochs")
#: Columns that are shown -> what they are.
PANELS = {"memory": "resident MiB", "files": "open files", "threads": "threads", "checkpoints": "MiB of checkpoints"}
#: Minutes at the beginning of a process in which it still loads and traces, and fills caches and arenas of memory.
WARM_UP = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--set", action="append", default=[], help="of `kresp3d train`")
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--every", type=float, default=5, help="seconds between two looks")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()

    options.folder.mkdir(parents=True, exist_ok=True)
    log = options.folder / "soak.csv"
    if not log.exists():
        log.write_text(",".join(COLUMNS) + "\n")
    rows = read(log)
    begun = rows[-1]["minutes"] if rows else 0.0
    run = options.folder / "run"
    command = [sys.executable, "-m", "kresp3d", "train", "--config", options.config, "--out", str(run)]
    # More epochs than there is time for.
    for value in ("training.epochs=100000", *options.set):
        command += ["--set", value]
    if run.exists():
        command.append("--resume")
    if begun < options.minutes:
        watch(command, run, log, begun, options)
    rows = read(log)
    print(f"{shlex.join(command)}\n")
    for name, label in PANELS.items():
        print(f"{label}: {summary(rows, name)}")
    print(f"{rows[-1]['minutes']:.0f} minutes, {rows[-1]['epochs']:.0f} epochs")
    if options.plot:
        plot(rows, options.plot)


def read(log: Path) -> list[dict[str, float]]:
    with log.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def watch(command: list[str], run: Path, log: Path, begun: float, options: argparse.Namespace) -> None:
    """Train until the time is over, and write down what the process holds."""
    start = time.monotonic()
    with (options.folder / "train.log").open("a") as output, log.open("a", newline="") as file:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        writer = csv.writer(file)
        try:
            while process.poll() is None:
                minutes = begun + (time.monotonic() - start) / 60
                if minutes >= options.minutes:
                    break
                writer.writerow([f"{minutes:.3f}", f"{begun:.3f}", *held(process.pid), *written(run)])
                file.flush()
                time.sleep(options.every)
            else:
                raise SystemExit(f"the training ended with {process.returncode}; see {options.folder / 'train.log'}")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def written(run: Path) -> list[int]:
    """Bytes of the checkpoints, and finished epochs."""
    size = 0
    for path in (run / "checkpoints").glob("*"):
        # One may be replaced meanwhile.
        size += path.stat().st_size if path.exists() else 0
    history = run / "history.csv"
    return [size, max(0, len(history.read_text().splitlines()) - 1) if history.exists() else 0]


def in_units(rows: list[dict[str, float]], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows]) / (2**20 if "MiB" in PANELS[name] else 1)


def summary(rows: list[dict[str, float]], name: str) -> str:
    """Median, and how much it grows in an hour by a line through the values after the warm-up."""
    later = [row for row in rows if row["minutes"] - row["start"] >= WARM_UP]
    if len(later) < 2:
        return "not long enough"
    minutes, values = np.array([row["minutes"] for row in later]), in_units(later, name)
    # Each process has a level of its own.
    starts = np.array([row["start"] for row in later])
    levels = (starts[:, None] == np.unique(starts)).astype(float)
    slope = np.linalg.lstsq(np.column_stack([minutes, levels]), values, rcond=None)[0][0]
    return f"median {np.median(values):.0f}, {values.min():.0f} to {values.max():.0f}, {slope * 60:+.2f} an hour"


def plot(rows: list[dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    axes = figure.subplots(len(PANELS), 1, sharex=True)
    minutes = [row["minutes"] for row in rows]
    for axis, (name, label) in zip(axes, PANELS.items(), strict=True):
        axis.plot(minutes, in_units(rows, name), linewidth=1)
        axis.set_ylim(0, None)
        axis.set_ylabel(label)
        for start in {row["start"] for row in rows} - {0.0}:
            axis.axvline(start, color="#999999", linestyle=":")
    axes[-1].set_xlabel("minutes")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

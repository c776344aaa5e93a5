"""What each way of making a network smaller costs in accuracy, and what it gains in size and time.

    python scripts/compression_study.py runs/base --folder /tmp/compression --plot docs/images/compression.png

Compresses a trained run in every way, exports LiteRT files, and measures them on the validation and the test videos, in
turns of the command line alone. What is done is not done again, so an interrupted study goes on. Choose by the
validation videos; the test videos' figures are for the report.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kresp3d.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Way:
    """A row of the table: how a network is compressed, one step after another, and exported."""

    name: str
    steps: tuple[tuple[str, ...], ...] = ()
    """Of each `kresp3d compress`: the method and what is set."""
    quantize: str = "none"

    @property
    def run(self) -> str:
        """The folder of its last step."""
        return "+".join("-".join((method, *(s.partition("=")[2] for s in sets))) for method, *sets in self.steps)


PRUNED = ("prune", "compress.sparsity=0.75")
SLIM = ("slim",)
WAYS = [
    Way("float32"),
    Way("float16", quantize="float16"),
    Way("dynamic", quantize="dynamic"),
    Way("int8 after training", quantize="int8"),
    Way("int8, quantisation-aware", (("qat",),), "int8"),
    *(Way(f"{100 * share:.0f} % pruned", (("prune", f"compress.sparsity={share}"),)) for share in (0.5, 0.75, 0.9)),
    Way("2:4 pruned", (("prune-2x4",),)),
    Way("16 clusters", (("cluster",),)),
    Way("slim", (SLIM,)),
    Way("75 % pruned, int8 quantisation-aware", (PRUNED, ("qat",)), "int8"),
    Way("slim, int8 quantisation-aware", (SLIM, ("qat",)), "int8"),
    Way("75 % pruned, 16 clusters", (PRUNED, ("cluster",))),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], help="of every `kresp3d compress`")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()

    options.folder.mkdir(parents=True, exist_ok=True)
    rows = [measure(way, options.run, options.folder, options.set) for way in WAYS]
    bench(rows, options.folder)
    print_table(rows)
    if options.plot:
        plot(rows, options.plot)


def measure(way: Way, run: Path, folder: Path, sets: list[str]) -> dict[str, Any]:
    """Compress, export and measure in one way; what is there already is not made again."""
    source = run
    for number in range(1, len(way.steps) + 1):
        method, *own = way.steps[number - 1]
        target = folder / Way("", way.steps[:number]).run
        if not (target / "metrics.json").exists():
            words = [word for value in (*sets, *own) for word in ("--set", value)]
            kresp3d("compress", source, "--method", method, *words, "--out", target, "--resume")
        source = target
    exported = folder / "files" / (way.run or "trained") / way.quantize
    if not (exported / "parity.json").exists():
        kresp3d("export", source, "--format", "litert", "--quantize", way.quantize, "--to", exported)
    [file] = exported.glob("*.tflite")
    row: dict[str, Any] = {"name": way.name, "file": file, "bytes": file.stat().st_size}
    row["packed"] = len(gzip.compress(file.read_bytes(), mtime=0))
    for split in RunFolder.open(run).splits - {"train"}:
        figures = exported / f"{split}.json"
        if not figures.exists():
            kresp3d("evaluate", file, "--split", split, "--json", figures)
        values = json.loads(figures.read_text())
        row[split] = values["video_top1"]
        row[f"{split}_clips"] = values["clip_top1"]
    return row


def kresp3d(*words: object) -> None:
    command = [sys.executable, "-m", "kresp3d", *map(str, words)]
    print("$", "kresp3d", *map(str, words), flush=True)
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def bench(rows: list[dict[str, Any]], folder: Path) -> None:
    """Time all files in turns, in one go."""
    figures = folder / "bench.json"
    if not figures.exists():
        kresp3d("bench", *(row["file"] for row in rows), "--batch", 1, "--json", figures)
    for row, values in zip(rows, json.loads(figures.read_text()), strict=True):
        row["seconds"] = values["timings"][0]["median_s"]


def print_table(rows: list[dict[str, Any]]) -> None:
    figures = ("validation", "test", "test_clips")
    print("\n| | kB | kB packed | one clip | validation video | test video | test clip |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row['name']} | {row['bytes'] / 1000:,.0f} | {row['packed'] / 1000:,.0f} "
            f"| {1000 * row['seconds']:.1f} ms "
            f"| {' | '.join(f'{row[name]:.1%}' if name in row else '–' for name in figures)} |"
        )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    sizes, times = figure.subplots(1, 2, sharey=True)
    for axis, key, unit in ((sizes, "packed", 1e-3), (times, "seconds", 1e3)):
        for number, row in enumerate(rows):
            marker = "os^"[number // 10]
            axis.plot(row[key] * unit, 100 * row["test"], marker, color=f"C{number % 10}", label=row["name"])
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
    sizes.set_xlabel("kB of the file, packed by gzip")
    times.set_xlabel("ms for one clip")
    sizes.set_ylabel("test video top-1, %")
    handles, labels = sizes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

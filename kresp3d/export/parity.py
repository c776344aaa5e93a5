"""Whether an exported network says what the trained one says, on real clips."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kresp3d.data.index import Record
from kresp3d.data.pipeline import evaluation_dataset
from kresp3d.errors import KrespError
from kresp3d.evaluation.figures import percent
from kresp3d.evaluation.metrics import video_scores
from kresp3d.inference.bench import megabytes, milliseconds
from kresp3d.inference.engine import Engine, Precision
from kresp3d.inference.network_info import Quantize
from kresp3d.run_folder import RunFolder

#: Beside the exported networks: the run they were made of, and how each compares with it.
PARITY_FILE = "parity.json"

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tolerance:
    """What an artefact may differ by, and the words for it."""

    difference: float | None = None
    """Largest difference of a probability."""
    video_top1: float | None = None
    """Largest loss of video top-1, as a share; one video is always forgiven."""

    def __str__(self) -> str:
        if self.difference is not None:
            return f"a probability may differ by {self.difference:g}"
        return f"video top-1 may fall by {100 * (self.video_top1 or 0):g} points, or by one video"


#: Float32 differs by rounding alone. Fewer bits change scores, and what counts is whether the answers stay right.
FLOAT32 = Tolerance(difference=1e-4)
FEWER_BITS = Tolerance(video_top1=0.01)
TOLERANCES: Mapping[Quantize, Tolerance] = {
    "none": FLOAT32,
    "float16": Tolerance(difference=1e-2),
    "dynamic": FEWER_BITS,
    "int8": FEWER_BITS,
}


@dataclass(frozen=True)
class Parity:
    """One network beside the trained one, on the same clips.

    Differences are of softmax probabilities, over all clips and classes. `top1_agreement` is the share of clips whose
    best class is the same. `size`, `latency` (median of one clip, in seconds) and `peak_memory` come from `bench`.
    """

    artefact: str
    format: str
    quantize: Quantize
    precision: Precision
    clips: int
    videos: int
    max_difference: float
    mean_difference: float
    top1_agreement: float
    video_top1: float
    video_top1_trained: float
    size: int | None = None
    latency: float | None = None
    peak_memory: int | None = None

    @property
    def tolerance(self) -> Tolerance:
        """What this format and precision may differ by."""
        return FEWER_BITS if self.precision == "bfloat16" else TOLERANCES[self.quantize]

    @property
    def within(self) -> bool:
        """Whether the artefact is good enough to be used in place of the trained network."""
        limit = self.tolerance
        if limit.difference is not None:
            return self.max_difference <= limit.difference
        forgiven = max(limit.video_top1 or 0.0, 1 / self.videos)
        return self.video_top1 >= self.video_top1_trained - forgiven - 1e-9

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "artefact": self.artefact,
            "format": self.format,
            "quantize": self.quantize,
            "precision": self.precision,
            "clips": self.clips,
            "videos": self.videos,
            "max_difference": self.max_difference,
            "mean_difference": self.mean_difference,
            "top1_agreement": self.top1_agreement,
            "video_top1": self.video_top1,
            "video_top1_trained": self.video_top1_trained,
            "tolerance": str(self.tolerance),
            "within_tolerance": self.within,
            "size_bytes": self.size,
            "latency_s": self.latency,
            "peak_memory_bytes": self.peak_memory,
        }

    def with_cost(self, *, size: int, latency: float, peak_memory: int | None) -> Parity:
        """The same with what `bench` found."""
        return replace(self, size=size, latency=latency, peak_memory=peak_memory)


def choose(records: Sequence[Record], count: int) -> list[Record]:
    """At most `count` videos, spread evenly over the classes and over each class's videos."""
    ordered = sorted(records, key=lambda record: record.label)
    if count >= len(ordered):
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, count).round().astype(int)]


def score(
    engines: Sequence[Engine],
    run: RunFolder,
    records: Sequence[Record],
    *,
    clips: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Scores]:
    """Softmax scores `[videos * clips, classes]` of the same clips by several engines; the clips are read once."""
    dataset = evaluation_dataset(records, run.records_folder, run.classes, run.config, clips=clips)
    found: list[list[Scores]] = [[] for _ in engines]
    done, total = 0, len(records) * clips
    for batch, _ in dataset.as_numpy_iterator():
        for scores, engine in zip(found, engines, strict=True):
            scores.append(engine.probabilities(batch["frames"]))
        done += len(batch["frames"])
        if progress is not None:
            progress(done, total)
    return [np.concatenate(scores) for scores in found]


def compare(
    artefact: str, engine: Engine, precision: Precision, scores: Scores, trained: Scores, labels: npt.NDArray[np.int64]
) -> Parity:
    """Set an artefact's scores beside the trained network's.

    Args:
        artefact: Its file name.
        engine: What ran it.
        precision: In which it was run.
        scores: Softmax scores `[videos * clips, classes]`, the clips of a video side by side.
        trained: The trained network's, of the same clips.
        labels: Class indices `[videos]`.
    """
    clips, videos = len(scores), len(labels)
    difference = np.abs(scores.astype(np.float64) - trained)
    index = np.repeat(np.arange(videos), clips // videos)

    def top1(values: Scores) -> float:
        return float((video_scores(values, index).argmax(axis=1) == labels).mean())

    return Parity(
        artefact=artefact,
        format=engine.info.format,
        quantize=engine.info.quantize,
        precision=precision,
        clips=clips,
        videos=videos,
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        top1_agreement=float((scores.argmax(axis=1) == trained.argmax(axis=1)).mean()),
        video_top1=top1(scores),
        video_top1_trained=top1(trained),
    )


def parity_table(rows: Sequence[Parity]) -> Table:
    """All artefacts side by side, for the console."""
    first = rows[0]
    title = (
        f"Compared with the trained network on {first.clips} clips of {first.videos} videos; "
        f"its video top-1 is {percent(first.video_top1_trained)}"
    )
    # Narrow enough for a terminal of 80 columns.
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("file", overflow="fold")
    for column in ("Δ", "same\ntop-1", "video\ntop-1", "size\nMB", "time\nms", "memory\nMB", ""):
        table.add_column(column, justify="right" if column else "left", no_wrap=not column)
    for row in rows:
        table.add_row(
            Text(row.artefact if row.precision == "float32" else f"{row.artefact} ({row.precision})"),
            f"{row.max_difference:.0e}",
            percent(row.top1_agreement),
            percent(row.video_top1),
            megabytes(row.size),
            milliseconds(row.latency),
            megabytes(row.peak_memory),
            "ok" if row.within else "rejected",
        )
    table.caption = (
        "Δ: largest difference of a class's probability on any clip. Same top-1: share of clips with the same best "
        "class. Time: median of one clip. Memory: of a whole process that runs it."
    )
    table.caption_justify = "left"
    return table


def source_run(artefact: Path) -> Path | None:
    """The run that an exported network was made of, as the `parity.json` near it says; `None` where there is none."""
    for folder in (artefact, artefact.parent):
        noted = read_parity(folder)
        if noted is not None:
            return Path(noted["run"])
    return None


def read_parity(folder: Path) -> dict[str, Any] | None:
    """What the `parity.json` of a folder says; `None` where there is none.

    Raises:
        KrespError: If it is damaged.
    """
    file = folder / PARITY_FILE
    if not file.is_file():
        return None
    try:
        noted: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {"run": str(noted["run"]), "artefacts": [row for row in noted["artefacts"] if row["artefact"]]}
    except (ValueError, KeyError, TypeError):
        raise KrespError(f"{file} is damaged; delete it, and export the run again") from None

"""Whether an exported network says what the trained one says, on real clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kresp3d.evaluation.figures import percent
from kresp3d.evaluation.metrics import video_scores
from kresp3d.inference.bench import megabytes, milliseconds
from kresp3d.inference.engine import Engine, Precision
from kresp3d.records.index import Record
from kresp3d.records.pipeline import evaluation_frames
from kresp3d.runs.network_info import Quantize
from kresp3d.runs.run_folder import RunFolder

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tolerance:
    """What an artefact may differ by, and the words for it."""

    difference: float | None = None
    """Largest difference of a probability."""
    video_top1: float | None = None
    """Largest loss of video top-1, as a share. Where one video is more than that, one video is forgiven, but then the
    clips count too: `AGREEMENT` of them must keep their best class."""

    @property
    def videos(self) -> int:
        """Fewest videos that tell a loss of `video_top1`."""
        return round(1 / self.video_top1) if self.video_top1 else 1

    def __str__(self) -> str:
        if self.difference is not None:
            return f"a probability may differ by {self.difference:g}"
        return (
            f"video top-1 may fall by {100 * (self.video_top1 or 0):g} points; of fewer than {self.videos} videos by "
            f"one, and {percent(AGREEMENT)} of the clips must keep their best class"
        )


#: Of fewer videos than a loss of top-1 can be told from, this share of the clips must keep their best class. Sound int8
#: files keep 96 to 98 % (docs/litert.md), and the clips that change are those between two classes; a network that went
#: wrong keeps about as many as there would be by chance.
AGREEMENT = 0.9


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
    best class is the same. `rounds` says that the trained network rounds as an int8 one, so that sums that are added up
    in another order now and then fall to the other side. `size`, `latency` (median of one clip, in seconds) and
    `peak_memory` come from `bench`.
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
    rounds: bool = False
    size: int | None = None
    latency: float | None = None
    peak_memory: int | None = None

    @property
    def tolerance(self) -> Tolerance:
        """What this format and precision may differ by."""
        return FEWER_BITS if self.precision == "bfloat16" or self.rounds else TOLERANCES[self.quantize]

    @property
    def within(self) -> bool:
        """Whether the artefact is good enough to be used in place of the trained network."""
        return self.fault is None

    @property
    def too_few_videos(self) -> bool:
        """Whether one video is more than what video top-1 may fall by."""
        return self.videos < self.tolerance.videos

    @property
    def decides(self) -> bool:
        """Whether the artefact stands or falls by this row; to run it in bfloat16 is a choice of whoever runs it."""
        return self.precision == "float32"

    @property
    def verdict(self) -> str:
        """In a word or two."""
        return "ok" if self.within else "rejected" if self.decides else "too far"

    @property
    def fault(self) -> str | None:
        """What is out of tolerance, measured and allowed; `None` where nothing is."""
        limit = self.tolerance
        if limit.difference is not None:
            # Written so that a difference which is no number is a fault.
            good = self.max_difference <= limit.difference
            measured = f"a probability differs by {self.max_difference:.2g}, and may by {limit.difference:g}"
            return None if good else f"in {self.precision} {measured}"
        forgiven = max(limit.video_top1 or 0.0, 1 / self.videos)
        if self.video_top1 < self.video_top1_trained - forgiven - 1e-9:
            return (
                f"in {self.precision} video top-1 is {percent(self.video_top1)} instead of "
                f"{percent(self.video_top1_trained)}, and may fall by {100 * forgiven:.2g} points"
            )
        if (self.too_few_videos or self.rounds) and self.top1_agreement < AGREEMENT:
            why = "of a network that rounds" if self.rounds else f"with fewer than {limit.videos} videos"
            return (
                f"in {self.precision} {percent(self.top1_agreement)} of the clips keep their best class, and {why} "
                f"{percent(AGREEMENT)} must"
            )
        return None

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
            "rounds": self.rounds,
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
    batches = evaluation_frames(records, run.records_folder, run.classes, run.config, clips=clips)
    found: list[list[Scores]] = [[] for _ in engines]
    done, total = 0, len(records) * clips
    for frames in batches:
        for scores, engine in zip(found, engines, strict=True):
            scores.append(engine.probabilities(frames))
        done += len(frames)
        if progress is not None:
            progress(done, total)
    return [np.concatenate(scores) for scores in found]


def compare(
    artefact: str,
    engine: Engine,
    precision: Precision,
    scores: Scores,
    trained: Scores,
    labels: npt.NDArray[np.int64],
    *,
    rounds: bool = False,
) -> Parity:
    """Set an artefact's scores beside the trained network's.

    Args:
        artefact: Its file name.
        engine: What ran it.
        precision: In which it was run.
        scores: Softmax scores `[videos * clips, classes]`, the clips of a video side by side.
        trained: The trained network's, of the same clips.
        labels: Class indices `[videos]`.
        rounds: Whether the trained network computes with the values that an int8 one has.
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
        rounds=rounds,
    )


def parity_table(rows: Sequence[Parity], split: str) -> Table:
    """All artefacts side by side, for the console; `split` is the one whose videos they were compared on."""
    first = rows[0]
    title = (
        f"Compared with the trained network on {first.clips} clips of {first.videos} {split} videos; "
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
            row.verdict,
        )
    table.caption = (
        "Δ: largest difference of a class's probability on any clip. Same top-1: share of clips with the same best "
        "class. Time: median of one clip. Memory: of a whole process that runs it."
    )
    coarse = next((row for row in rows if row.too_few_videos), None)
    if coarse is not None:
        table.caption += (
            f" One of {coarse.videos} videos is more than the {100 * (coarse.tolerance.video_top1 or 0):g} % that "
            f"video top-1 may fall by, so {percent(AGREEMENT)} of the clips must keep their best class too."
        )
    table.caption_justify = "left"
    return table

"""`kresp3d predict --runner …`: the scores of many videos, in a Parquet file.

paths ──▶ workers: fetch, decode, score ──▶ FILE.parquet
                                      └───▶ FILE-bad.csv: those that cannot be decoded, with the reason
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam
import pyarrow as pa
from apache_beam.utils.shared import Shared

from kresp3d.distributed.beam.files import fetched, is_video, match
from kresp3d.distributed.beam.pipeline import counted, counter, pipeline
from kresp3d.inference.engine import Engine, Precision
from kresp3d.inference.open_engine import open_engine
from kresp3d.inference.predictor import find_all, mean_scores
from kresp3d.records.video_clips import decode_clips
from kresp3d.system.errors import KrespError, VideoError
from kresp3d.system.storage import is_remote, location
from kresp3d.system.text import utf8
from kresp3d.video.workers import VideoWorkers

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

#: The output of videos that cannot be decoded.
_BAD = "bad"


@dataclass(frozen=True)
class Scoring:
    """How many videos were scored, how many cannot be decoded, and how often the network was loaded."""

    scored: int
    bad: int
    loads: int


def find_paths(words: Sequence[str]) -> list[str]:
    """The videos that words name: patterns and folders on any of Beam's file systems, or files and folders here.

    Raises:
        KrespError: If a word names nothing.
    """
    paths: list[str] = []
    for word in words:
        if is_remote(word) or (set(word) & set("*?[") and not Path(word).exists()):
            pattern = word if set(word) & set("*?[") or is_video(word) else f"{word.rstrip('/')}/**"
            inside = [each.path for each in match([pattern]) if is_video(each.path)]
            if not inside:
                raise KrespError(f"{word} names no videos")
            paths += inside
        else:
            paths += [str(path) for path in find_all([Path(word)])]
    return list(dict.fromkeys(paths))


def predict_on(
    options: PipelineOptions,
    network: str,
    paths: Sequence[str],
    out: str,
    *,
    clips: int | None = None,
    precision: Precision = "float32",
    time_limit: float | None = None,
) -> Scoring:
    """Score videos on a runner.

    Args:
        options: The runner and its options.
        network: What `open_engine` takes, there for this process and for the workers.
        paths: The videos, there for the workers.
        out: The Parquet file, on any of Beam's file systems. Its columns are `path`, `class` (the best one), `score`
            (of that) and `scores` (of all classes, float32); the names of the classes are in the schema's metadata.
        clips: Clips of each video; by default the network's.
        precision: Of the computation.
        time_limit: Seconds that decoding a video may take.

    Raises:
        KrespError: If the network cannot be loaded, or the pipeline fails.
    """
    # Loaded here too, to say at once what is wrong with it, and for the names of the classes.
    info = open_engine(location(network), precision=precision).info
    score = _Score(network, clips or info.clips, precision, time_limit)
    with pipeline(options) as running:
        # Dealt anew, since Beam keeps together what is made together.
        found = running | apache_beam.Create(list(paths)) | apache_beam.Reshuffle()
        rows = found | "Score" >> apache_beam.ParDo(score).with_outputs(_BAD, main="scored")
        # One file: scores are small beside videos. Both are there only when they are whole.
        alone = {"num_shards": 1, "shard_name_template": ""}
        rows.scored | "Scores" >> apache_beam.io.WriteToParquet(out, schema(info.labels), codec="zstd", **alone)
        rows[_BAD] | "Bad" >> apache_beam.io.WriteToText(bad_file(out), header="path,reason", **alone)
    result = running.result
    return Scoring(counted(result, "scored"), counted(result, "bad"), counted(result, "loads"))


def bad_file(out: str) -> str:
    """Where the videos are listed that cannot be decoded."""
    return f"{out.removesuffix('.parquet')}-bad.csv"


def schema(labels: Sequence[str]) -> pa.Schema:
    """Of the Parquet file."""
    columns = [
        ("path", pa.string()),
        ("class", pa.string()),
        ("score", pa.float32()),
        ("scores", pa.list_(pa.float32())),
    ]
    return pa.schema(columns, metadata={"classes": json.dumps(list(labels), ensure_ascii=False)})


@dataclass
class _Score(apache_beam.DoFn):
    """Scores a video."""

    network: str
    clips: int
    precision: Precision
    time_limit: float | None
    #: Holds the one network of a process, whose threads have a `_Score` each.
    shared: Shared = field(default_factory=Shared)

    def setup(self) -> None:
        self._workers = VideoWorkers(1, imports=["kresp3d.records.video_clips"], time_limit=self.time_limit)

    def _load(self) -> Engine:
        counter("loads").inc()
        return open_engine(location(self.network), precision=self.precision)

    def process(self, path: str) -> Iterator[Any]:
        engine: Engine = self.shared.acquire(self._load)
        read = partial(decode_clips, clip=engine.info.clip, clips=self.clips)
        try:
            with fetched(path) as file:
                [cut] = self._workers.map(read, [file])
        except VideoError as error:
            cut = error
        if isinstance(cut, VideoError):
            counter("bad").inc()
            line = io.StringIO()
            csv.writer(line, lineterminator="").writerow([utf8(path), cut.reason])
            yield apache_beam.pvalue.TaggedOutput(_BAD, line.getvalue())
            return
        scores = mean_scores(engine, cut)
        best = int(scores.argmax())
        counter("scored").inc()
        yield {
            "path": utf8(path),
            "class": engine.info.labels[best],
            "score": float(scores[best]),
            "scores": [float(score) for score in scores],
        }

    def teardown(self) -> None:
        self._workers.close()

"""`kresp3d data prepare --runner …`: videos become records, each part of them on some worker of a pipeline.

list of videos ──▶ parts, dealt as ever ──▶ workers: fetch, decode, write shards ──▶ table

The parts, and what is in them, are those of `kresp3d.records.prepare`; so are going on after a failure and doing
nothing where nothing changed. A part that a runner computes twice is the same both times, and replaces itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam

from kresp3d.config.schema import DataConfig
from kresp3d.datasets.catalog import catalog_of
from kresp3d.datasets.readers.folder_tree import read_tree
from kresp3d.distributed.beam.files import fetched, is_video, match
from kresp3d.distributed.beam.pipeline import pipeline
from kresp3d.records.index import Records
from kresp3d.records.pictures import Pictures
from kresp3d.records.prepare import Part, Videos, decoder, prepare, write_part
from kresp3d.system.errors import KrespError, UsageError, VideoError
from kresp3d.system.storage import is_remote, location
from kresp3d.video.workers import VideoWorkers

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions


def prepare_on(options: PipelineOptions, config: DataConfig, *, overwrite: bool = False) -> Records:
    """Make the records of a configuration on a runner; see `kresp3d.records.prepare.prepare`.

    Args:
        options: The runner and its options.
        config: The videos: as for `prepare`, or a folder `class/video` on any of Beam's file systems. The records'
            folder must be there for this process and for the workers.
        overwrite: As for `prepare`.

    Raises:
        UsageError, KrespError: As `prepare`; if there are no videos, or the pipeline fails.
    """

    def write_parts(parts: Sequence[Part], folder: Path, identity: Mapping[str, Any], config: DataConfig) -> None:
        with pipeline(options) as running:
            made = running | apache_beam.Create(list(parts)) | apache_beam.Reshuffle()
            made | apache_beam.ParDo(_Write(folder, dict(identity), config))

    videos = _remote_videos(config) if is_remote(config.videos) else None
    return prepare(config, overwrite=overwrite, videos=videos, write_parts=write_parts)


def _remote_videos(config: DataConfig) -> Videos:
    if config.records is None:
        raise UsageError(f"data.videos is {config.videos}: say where the records are to be, by data.records")
    root = str(location(config.videos))
    found = {each.path.removeprefix(f"{root}/"): each for each in match([f"{root}/**"]) if is_video(each.path)}
    strange = [name for name in found if str(location(f"{root}/{name}")) != f"{root}/{name}"]
    if strange:
        raise KrespError(f"{root} has videos whose names are no paths, such as {strange[0]}; rename them")
    if not found:
        raise KrespError(f"no videos in {root}: expected {root}/CLASS/VIDEO, with videos such as .mp4 or .avi")
    source = location(root)
    catalog = catalog_of(read_tree(source, [Path(name) for name in found]), config, source)
    stamps: dict[str, list[str | int]] = {}
    for video in catalog.videos:
        file = found[str(video.path).removeprefix(f"{root}/")]
        stamps[video.name] = [video.name, video.label, file.size, round(1e9 * file.changed)]
    return Videos(catalog, stamps)


@dataclass
class _Write(apache_beam.DoFn):
    """Writes a part."""

    folder: Path
    identity: dict[str, Any]
    config: DataConfig

    def setup(self) -> None:
        # One: runners start as many workers of their own as they have cores for.
        self._workers = VideoWorkers(1, imports=["kresp3d.records.pictures"], time_limit=self.config.time_limit)

    def process(self, part: Part) -> None:
        write_part(part, self.folder, self.identity, self.config, self._decoded(part))

    def _decoded(self, part: Part) -> Iterator[Pictures | VideoError]:
        for video in part.videos:
            try:
                with fetched(str(video.path)) as file:
                    yield from self._workers.map(decoder(self.config), [file])
            except VideoError as error:
                yield error

    def teardown(self) -> None:
        self._workers.close()

"""`kresp3d data prepare`: videos become records.

    catalog ──▶ parts to write ──worker processes──▶ pictures of one video ──this process──▶ shards ──▶ table

Videos are dealt to parts by a hash of their name, so a video that is added or changed touches one part. A part is
finished when its `shard-NNNNN.json` is there; an interrupted run loses no more than the part it was writing.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import logging
import math
import shutil
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kresp3d.config.schema import DataConfig
from kresp3d.datasets.catalog import Catalog, Video, load_catalog
from kresp3d.datasets.copies import warn_of_copies
from kresp3d.datasets.source import resolve_videos, short_hash, videos_path
from kresp3d.records.index import (
    AGAIN,
    FORMAT,
    INDEX,
    TABLE,
    Record,
    Records,
    read_index,
    write_index,
    write_json,
)
from kresp3d.records.pictures import Pictures, video_to_pictures
from kresp3d.system.errors import KrespError, VideoError
from kresp3d.system.files import LOCK, PART, locked, write_csv
from kresp3d.system.storage import is_remote, local, location
from kresp3d.video.workers import Progress, map_videos

REPORT = "prepare-report.csv"
#: In a folder that a process prepares.
PREPARING = f"{LOCK}-preparing"
#: Seconds between two looks at a folder that another process prepares.
PAUSE = 1.0

logger = logging.getLogger("kresp3d")

#: At the default settings a video of UCF101 becomes about 1 MB, so that a part fills about one shard.
VIDEOS_PER_PART = 128
#: A part of longer videos has several shards; a shard ends with the video that goes beyond this.
SHARD_BYTES = 128 * 2**20

#: Where decoded videos come from, in the order of the parts.
Results = Iterator[Pictures | VideoError]


@dataclass(frozen=True)
class Part:
    """The videos that go into the shards of one number."""

    stem: str
    videos: tuple[Video, ...]
    fingerprint: str


@dataclass(frozen=True)
class Videos:
    """What is to be prepared, and what changes when a video does: name -> plain values."""

    catalog: Catalog
    stamps: Mapping[str, Sequence[str | int]]

    @classmethod
    def of(cls, config: DataConfig) -> Videos:
        """Find the videos of a configuration on this machine's disks."""
        catalog = load_catalog(config)
        return cls(catalog, {video.name: _stamp(video) for video in catalog.videos})


#: Writes parts into a folder: the parts, the folder, what all of them note of the records, and the configuration.
WriteParts = Callable[[Sequence[Part], Path, Mapping[str, Any], DataConfig], None]


def records_folder(config: DataConfig) -> Path:
    """Where the records of a configuration are, or will be."""
    if config.records is not None:
        return location(config.records).expanduser()
    path = videos_path(config).resolve()
    name = path.parent.name if path.suffix.lower() == ".csv" else path.name
    # The official lists of HMDB51 name other videos in each split.
    key = short_hash([str(path), config.classes, config.split, _settings(config)])
    return local(config.cache).expanduser() / "records" / f"{name}-{key}"


def prepare(
    config: DataConfig,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    videos: Videos | None = None,
    write_parts: WriteParts | None = None,
) -> Records:
    """Make the records of a configuration, or bring them up to date. Does nothing where nothing changed.

    Args:
        config: The videos, the records' folder and the settings.
        overwrite: Write everything anew, also over records of other videos or settings.
        progress: Called with the number of finished videos and of all.
        videos: What to prepare; by default what the configuration names on this machine.
        write_parts: Who decodes and writes; by default worker processes and this one.

    Raises:
        KrespError: If more than `max_bad` of the videos cannot be decoded, or the folder cannot be written, is being
            written by another process, or holds something else.
    """
    config = resolve_videos(config)
    folder = records_folder(config)
    if videos is None and is_remote(config.videos):
        return _of_a_lake(config, folder)
    are_here = videos is None
    videos = videos or Videos.of(config)
    catalog = videos.catalog
    parts = _plan(videos)
    identity = {"format": FORMAT, "settings": _settings(config), "source": str(videos_path(config).resolve())}
    state = identity | {
        "fingerprint": _hash([part.fingerprint for part in parts]),
        "table": _hash([catalog.classes, [[v.name, v.label, v.group, v.split] for v in catalog.videos]]),
    }
    finished = None if overwrite else _finished(folder, state)
    if finished is not None:
        _check_bad(finished.index["bad"], config, catalog, folder)
        return finished
    if are_here:
        # Not each time: files of the same size are read.
        sides = {video.name: video.split for video in catalog.videos}
        warn_of_copies({video.name: video.path for video in catalog.videos}, sides, "side of the split")
    with _disk_errors(folder), _in_turn(folder):
        # Another process, which was waited for, may have made them.
        finished = None if overwrite else _finished(folder, state)
        if finished is not None:
            _check_bad(finished.index["bad"], config, catalog, folder)
            return finished
        _check_owner(folder, identity, overwrite)
        if overwrite:
            _remove(folder, [INDEX, "shard-*.json", "shard-*.tfrecord*", TABLE, REPORT])
        written = _write_missing(folder, parts, identity, config, write_parts or _Here(progress, len(catalog.videos)))
        return _finish(folder, catalog, written, state, config)


def _of_a_lake(config: DataConfig, folder: Path) -> Records:
    """Records that a pipeline made of videos that are out of reach here, where it did."""
    source = str(videos_path(config))
    try:
        records = read_index(folder)
        fits = records.index.get("source") == source and records.settings == _settings(config)
    except KrespError:
        fits = False
    if not fits:
        raise KrespError(
            f"data.videos is {source}, out of reach without a pipeline, and {folder} holds no finished records of it "
            "with these settings; prepare them first by `kresp3d data prepare --runner …`"
        )
    return records


def _settings(config: DataConfig) -> dict[str, Any]:
    """What the pictures depend on, besides the videos."""
    return {"fps": config.fps, "short_side": config.short_side, "jpeg_quality": config.jpeg_quality}


def _plan(videos: Videos) -> list[Part]:
    """Deal videos to a power of two of parts, so that one more video seldom moves the others; classes mix."""
    bits = max(0, math.ceil(math.log2(max(1, len(videos.catalog.videos)) / VIDEOS_PER_PART)))
    dealt: dict[int, list[tuple[str, Video]]] = defaultdict(list)
    for video in videos.catalog.videos:
        key = hashlib.sha256(video.name.encode(errors="surrogateescape")).hexdigest()
        dealt[int(key, 16) % 2**bits].append((key, video))
    parts = []
    for number in sorted(dealt):
        chosen = tuple(video for _, video in sorted(dealt[number], key=lambda pair: pair[0]))
        stamps = [list(videos.stamps[video.name]) for video in chosen]
        parts.append(Part(f"shard-{number:05d}", chosen, _hash(stamps)))
    return parts


def _stamp(video: Video) -> list[str | int]:
    """What changes when a video does; its label is in the record, too."""
    try:
        status = video.path.stat()
    except OSError:
        return [video.name, video.label]
    return [video.name, video.label, status.st_size, status.st_mtime_ns]


def _hash(values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def _finished(folder: Path, state: dict[str, Any]) -> Records | None:
    """The records if they are whole and up to date. Videos that were moved, unchanged, are the same videos."""
    try:
        records = read_index(folder)
    except KrespError:
        return None
    same = all(records.index.get(key) == value for key, value in state.items() if key != "source")
    return records if same else None


def _check_owner(folder: Path, identity: dict[str, Any], overwrite: bool) -> None:
    """Refuse a folder with other records, unless they are to be overwritten, and one with any other files."""
    found = None
    for path in [folder / INDEX, *sorted(folder.glob("shard-*.json"))]:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(path.read_text(encoding="utf-8"))
            break
    if isinstance(found, dict) and identity.keys() <= found.keys():
        different = [key for key, value in identity.items() if found.get(key) != value]
        if different and not overwrite:
            key = different[0]
            raise KrespError(
                f"{folder} holds records of another {key}: {found.get(key)}, not {identity[key]}; "
                "use --overwrite to replace them, or another folder (data.records)"
            )
    elif any(not path.name.startswith((".", "shard-")) for path in folder.iterdir()):
        raise KrespError(f"{folder} is not empty and holds no records; choose another folder (data.records)")


def _write_missing(
    folder: Path, parts: Sequence[Part], identity: dict[str, Any], config: DataConfig, write_parts: WriteParts
) -> list[dict[str, Any]]:
    """Write the parts that are missing or out of date; returns what is in all of them."""
    found = {part.stem: _read_part(folder, part) for part in parts}
    todo = [part for part in parts if found[part.stem] is None]
    stale = {path.stem for path in folder.glob("shard-*.json")} - {part.stem for part in parts}
    if todo or stale:
        (folder / INDEX).unlink(missing_ok=True)
    for stem in (*sorted(stale), *(part.stem for part in todo)):
        _remove(folder, [f"{stem}.json", f"{stem}.tfrecord*", f"{stem}-*.tfrecord*"])
    if todo:
        write_parts(todo, folder, identity, config)
        found |= {part.stem: _read_part(folder, part) for part in todo}
    missing = [stem for stem, contents in found.items() if contents is None]
    if missing:
        raise KrespError(f"{folder / missing[0]}.json was not written, or its shards are not whole; {AGAIN}")
    return [contents for contents in found.values() if contents is not None]


@dataclass(frozen=True)
class _Here:
    """A `WriteParts` with worker processes that decode, while this one writes."""

    progress: Progress | None
    total: int

    def __call__(self, parts: Sequence[Part], folder: Path, identity: Mapping[str, Any], config: DataConfig) -> None:
        done = self.total - sum(len(part.videos) for part in parts)

        def count() -> None:
            nonlocal done
            done += 1
            if self.progress is not None:
                self.progress(done, self.total)

        if self.progress is not None:
            self.progress(done, self.total)
        paths = [video.path for part in parts for video in part.videos]
        decoded = map_videos(decoder(config), paths, config.workers, time_limit=config.time_limit)
        with contextlib.closing(decoded) as results:
            for part in parts:
                write_part(part, folder, identity, config, results, count)


def decoder(config: DataConfig) -> Callable[[Path], Pictures]:
    """What makes pictures of a video, as a configuration says; it can be pickled."""
    return functools.partial(
        video_to_pictures, fps=config.fps, short_side=config.short_side, quality=config.jpeg_quality
    )


def write_part(
    part: Part,
    folder: Path,
    identity: Mapping[str, Any],
    config: DataConfig,
    results: Results,
    count: Callable[[], None] = lambda: None,
) -> None:
    """Write the shards of a part, and then the file that says that they are whole.

    Args:
        part: The videos.
        folder: Where to.
        identity: What all parts note of the records.
        config: The settings.
        results: Gives what was decoded, of each video in turn.
        count: Called after each video.
    """
    # TensorFlow takes seconds to import, and records that are up to date need none of it.
    from kresp3d.records.format import ShardWriter

    rows: list[list[str | int]] = []
    bad: dict[str, str] = {}
    sizes: dict[str, int] = {}
    left = deque(part.videos)
    while left:
        name = f"{part.stem}-{len(sizes):02d}.tfrecord" if sizes else f"{part.stem}.tfrecord"
        with ShardWriter(folder / name) as shard:
            while left and shard.size < SHARD_BYTES:
                video, result = left.popleft(), next(results)
                if isinstance(result, VideoError):
                    bad[video.name] = result.reason
                else:
                    row = shard.add(video, result.jpegs, fps=config.fps, height=result.height, width=result.width)
                    rows.append([row.name, row.frames, row.height, row.width, row.shard, row.offset, row.length])
                count()
        sizes[name] = shard.size
    contents = {"fingerprint": part.fingerprint, "shards": sizes, "videos": rows, "bad": bad}
    write_json(folder / f"{part.stem}.json", contents | dict(identity))


def _read_part(folder: Path, part: Part) -> dict[str, Any] | None:
    """What is in the shards of a part; `None` if they are not whole, or not of these videos as they are now."""
    try:
        contents = json.loads((folder / f"{part.stem}.json").read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in contents["shards"].items())
        return dict(contents) if whole and contents["fingerprint"] == part.fingerprint else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _finish(
    folder: Path, catalog: Catalog, parts: Sequence[dict[str, Any]], state: dict[str, Any], config: DataConfig
) -> Records:
    rows = {row[0]: row[1:] for part in parts for row in part["videos"]}
    bad = {name: reason for part in parts for name, reason in part["bad"].items()}
    write_csv(folder / REPORT, ("name", "reason"), sorted(bad.items()))
    _check_bad(len(bad), config, catalog, folder)
    records = [Record(v.name, v.label, v.group, v.split, *rows[v.name]) for v in catalog.videos if v.name in rows]
    return write_index(
        folder,
        records,
        catalog.classes,
        **state,
        bad=len(bad),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _check_bad(bad: int, config: DataConfig, catalog: Catalog, folder: Path) -> None:
    total = len(catalog.videos)
    if bad > config.max_bad * total:
        raise KrespError(
            f"{bad} of {total} videos cannot be decoded, more than data.max_bad allows ({config.max_bad:.2%}); "
            f"{folder / REPORT} says why: mend or remove them, or raise data.max_bad"
        )


@contextlib.contextmanager
def _in_turn(folder: Path) -> Iterator[None]:
    """Hold a records folder for writing; another process that prepares it is waited for, one that reads it is not."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        has_said = False
        while True:
            try:
                held.enter_context(locked(folder, f"preparing {folder}", name=PREPARING))
                break
            except KrespError as error:
                if not has_said:
                    logger.warning("%s; waiting until it has ended", error)
                    has_said = True
                time.sleep(PAUSE)
        held.enter_context(locked(folder, f"reading {folder}; wait until it has ended, or choose other data.records"))
        # What a kill has left.
        _remove(folder, [f"{PART}*"])
        yield


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = "" if is_remote(folder) else f" ({shutil.disk_usage(folder).free / 2**20:.0f} MiB free)"
            raise KrespError(
                f"no space left for the records in {folder}{free}; free some and run it again, "
                "or choose another folder (data.records)"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise KrespError(
                f"records cannot be written in {folder} ({error.strerror}); choose another folder (data.records)"
            ) from error
        raise


def _remove(folder: Path, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)

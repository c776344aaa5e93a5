"""Videos on any of Beam's file systems, of which those of this machine are one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kresp3d.datasets.readers.folder_tree import VIDEO_SUFFIXES
from kresp3d.system.errors import KrespError, VideoError
from kresp3d.system.storage import is_remote


@dataclass(frozen=True)
class Found:
    """A file, with its size in bytes and the time of its last change in seconds."""

    path: str
    size: int
    changed: float


def match(patterns: Sequence[str]) -> list[Found]:
    """The files that match patterns of `*`, `?` and `**`, of which the last crosses folders; sorted.

    Raises:
        KrespError: If a file system is not known or refuses, or nothing matches a pattern.
    """
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems

    try:
        results = FileSystems.match(list(patterns))
    # Beam's file systems raise what the libraries below them raise, if those are there at all.
    except (BeamIOError, OSError, ValueError, ImportError) as error:
        raise KrespError(f"{', '.join(patterns)} cannot be listed ({' '.join(str(error).split())[:300]})") from error
    found: dict[str, Found] = {}
    for result in results:
        if not result.metadata_list:
            raise KrespError(f"no file matches {result.pattern}")
        found |= {each.path: _found(each) for each in result.metadata_list}
    return [found[path] for path in sorted(found)]


def _found(metadata: Any) -> Found:
    return Found(metadata.path, int(metadata.size_in_bytes), float(metadata.last_updated_in_seconds or 0))


def is_video(path: str) -> bool:
    """Whether a file has a video's name."""
    name = PurePosixPath(path).name
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES


@contextmanager
def fetched(path: str) -> Iterator[Path]:
    """Give a file on this machine: itself, or a copy that goes in the end.

    Raises:
        VideoError: If it is not there.
        Exception: What a file system raises that fails: the video may be good, and runners try again.
    """
    if not is_remote(path):
        yield Path(path)
        return
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    with tempfile.TemporaryDirectory(prefix="kresp3d-") as folder:
        copy = Path(folder) / PurePosixPath(path).name
        if not FileSystems.exists(path):
            raise VideoError(path, "is no longer there")
        plain = CompressionTypes.UNCOMPRESSED
        with FileSystems.open(path, compression_type=plain) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, 2**20)
        yield copy

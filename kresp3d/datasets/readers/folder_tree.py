"""Folders of videos: `class/video`, or `train|validation|test/class/video`."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from kresp3d.datasets.splits import Entry, Split, count
from kresp3d.system.errors import KrespError

# fmt: off
#: Endings of files that are taken for videos; other files are passed over.
VIDEO_SUFFIXES = frozenset(
    [
        ".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".gif", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov",
        ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
    ]
)
# fmt: on
#: Names of splits, as folders and CSV files spell them.
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}

logger = logging.getLogger("kresp3d")


def stem(name: str) -> str:
    """A video's file name without its ending; a dot that begins no ending stays."""
    path = PurePath(name)
    return path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name


def find_videos(root: Path) -> list[Path]:
    """All videos below a folder, relative to it and sorted; none where there are none.

    What has a video's name is one, whatever it is: whoever decodes it says what is wrong with it. Links are followed,
    but no folder is entered twice. Hidden files and folders are passed over.
    """
    entered = {root.resolve()}
    found: list[Path] = []
    for folder, inner, files in os.walk(root, followlinks=True):
        here = Path(folder)
        inner.sort()
        for name in list(inner):
            real = (here / name).resolve()
            if name.startswith((".", "__MACOSX")) or real in entered:
                inner.remove(name)
            entered.add(real)
        found += [
            (here / name).relative_to(root)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES
        ]
    return sorted(found, key=Path.as_posix)


def read_tree(root: Path, videos: Sequence[Path]) -> list[Entry]:
    """Take the first folder of each path for the class, or the second where the first ones are splits.

    Args:
        root: The folder.
        videos: What `find_videos` found there.

    Raises:
        KrespError: If no video lies in a class's folder.
    """
    tops = {path.parts[0] for path in videos if len(path.parts) > 1}
    # All of them, since a class may be called `test`.
    has_splits = any(SPLIT_NAMES.get(t.lower()) == "train" for t in tops) and all(
        t.lower() in SPLIT_NAMES for t in tops
    )
    depth = 1 if has_splits else 0
    entries = [
        Entry(
            path=root / path,
            name=path.as_posix(),
            label=path.parts[depth],
            split=SPLIT_NAMES[path.parts[0].lower()] if has_splits else None,
        )
        for path in videos
        if len(path.parts) > depth + 1
    ]
    loose = len(videos) - len(entries)
    if not entries:
        where = root.name or root
        raise KrespError(
            f"{root} has {count(loose, 'video')} but no class folders: expected {where}/CLASS/VIDEO, or a CSV file"
        )
    if loose:
        logger.warning("%s: %s outside any class folder left out", root, count(loose, "video"))
    return entries

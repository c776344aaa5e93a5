"""The table of a records folder: which video lies in which shard, and where.

    folder/
      shard-00000.tfrecord    one `tf.train.Example` per video, of all splits and classes
      shard-00000.json        what went into the shards of this number; lets an interrupted `prepare` go on
      videos.csv              one row per video; the split is a column here and nowhere else
      index.json              written last: a folder without it is not finished

Nothing here needs TensorFlow.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from kresp3d.datasets.splits import SPLITS
from kresp3d.system.errors import KrespError
from kresp3d.system.files import locked, write_csv, write_text
from kresp3d.system.storage import location

FORMAT = 1
INDEX = "index.json"
TABLE = "videos.csv"


@dataclass(frozen=True, slots=True)
class Record:
    """One video in a records folder.

    `frames`, `height` and `width` are those of the stored pictures. `offset` and `length` give the bytes of its
    TFRecord entry in `shard`, framing included.
    """

    name: str
    label: str
    group: str | None
    split: str
    frames: int
    height: int
    width: int
    shard: str
    offset: int
    length: int

    @property
    def decoded(self) -> int:
        """Bytes of its pictures, decoded."""
        return 3 * self.frames * self.height * self.width


@dataclass(frozen=True)
class Records:
    """A finished records folder. `index` is what `index.json` holds."""

    folder: Path
    classes: tuple[str, ...]
    videos: tuple[Record, ...]
    settings: Mapping[str, Any]
    index: Mapping[str, Any]

    def split(self, name: str) -> tuple[Record, ...]:
        """The videos of one split, in the table's order."""
        return tuple(video for video in self.videos if video.split == name)


COLUMNS = tuple(field.name for field in fields(Record))


def reading(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Keep `prepare` from changing a records folder while it is read.

    Raises:
        KrespError: If it is being written.
    """
    if not os.access(folder, os.W_OK):
        # Nobody prepares in a folder that cannot be written, such as one on a read-only disk.
        return contextlib.nullcontext()
    return locked(folder, f"preparing {folder}; wait until it has ended", shared=True)


def read_index(folder: str | Path) -> Records:
    """Read the table of a records folder.

    Raises:
        KrespError: If the folder is not finished or of another version, or a shard is missing or of another size.
    """
    folder = location(folder)
    index = _read_json(folder)
    _check_shards(folder, index["shards"])
    videos = _read_table(folder / TABLE)
    if len(videos) != index["videos"]:
        raise KrespError(f"{folder / TABLE} has {len(videos)} rows, its index {index['videos']}; {AGAIN}")
    for video in videos:
        if video.shard not in index["shards"]:
            raise KrespError(f"{folder / TABLE} names the shard {video.shard}, which its index does not; {ANEW}")
    return Records(folder, tuple(index["classes"]), videos, index["settings"], index)


AGAIN = "run `kresp3d data prepare` again"
ANEW = "run `kresp3d data prepare --overwrite`"


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KrespError(f"no finished records in {folder} ({INDEX} is missing); {AGAIN}") from None
    except (OSError, ValueError) as error:
        raise KrespError(f"{path} cannot be read ({error}); {AGAIN}") from None
    found = index.get("format") if isinstance(index, dict) else None
    if found != FORMAT:
        raise KrespError(f"{path} is of format {found}, this version reads {FORMAT}; {ANEW}")
    required = {"classes": list, "videos": int, "settings": dict, "shards": dict}
    wrong = [key for key, kind in required.items() if not isinstance(index.get(key), kind)]
    if wrong:
        raise KrespError(f"{path} lacks {', '.join(wrong)}; {ANEW}")
    return dict(index)


def _check_shards(folder: Path, shards: Mapping[str, int]) -> None:
    for name, size in shards.items():
        # An index of strangers may name any file.
        if Path(name).name != name:
            raise KrespError(f"{folder / INDEX} names {name}, which is no shard; {ANEW}")
        try:
            found = (folder / name).stat().st_size
        except FileNotFoundError:
            raise KrespError(f"{folder / name} is missing; {AGAIN}") from None
        if found != size:
            raise KrespError(f"{folder / name} has {found} bytes instead of {size}; {AGAIN}")


def _read_table(path: Path) -> tuple[Record, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise KrespError(f"{path}: expected the columns {', '.join(COLUMNS)}; {AGAIN}")
            return tuple(_record(row) for row in reader)
    except (OSError, ValueError, TypeError) as error:
        raise KrespError(f"{path} cannot be read ({error}); {AGAIN}") from None


def _record(row: Mapping[str, str]) -> Record:
    """Read a row.

    Raises:
        ValueError: If a value cannot be.
        TypeError: If one is missing.
    """
    record = Record(
        name=row["name"],
        label=row["label"],
        group=row["group"] or None,
        split=row["split"],
        frames=int(row["frames"]),
        height=int(row["height"]),
        width=int(row["width"]),
        shard=row["shard"],
        offset=int(row["offset"]),
        length=int(row["length"]),
    )
    if record.split not in SPLITS:
        raise ValueError(f"{record.name}: there is no split {record.split!r}")
    if min(record.frames, record.height, record.width) < 1 or min(record.offset, record.length) < 0:
        raise ValueError(f"{record.name}: a number is too small")
    return record


def write_index(folder: Path, videos: Iterable[Record], classes: Iterable[str], **values: Any) -> Records:
    """Write `videos.csv`, then `index.json`.

    Args:
        folder: Where the shards are.
        videos: Rows of the table.
        classes: Names of the classes, in the order of their numbers.
        **values: What else `index.json` is to hold; `settings` (a dict) must be there.
    """
    videos, classes = tuple(videos), tuple(classes)
    index: dict[str, Any] = {
        "format": FORMAT,
        "videos": len(videos),
        "splits": {name: sum(v.split == name for v in videos) for name in SPLITS},
        "shards": {name: (folder / name).stat().st_size for name in sorted({v.shard for v in videos})},
        **values,
        "classes": list(classes),
    }
    # The old index does not fit the new table: gone before it, back after it.
    (folder / INDEX).unlink(missing_ok=True)
    write_csv(folder / TABLE, COLUMNS, (astuple(video) for video in videos))
    write_json(folder / INDEX, index)
    return Records(folder, classes, videos, index["settings"], index)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file that appears under its name only when whole."""
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")

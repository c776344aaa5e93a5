"""A CSV file that lists videos: `path,label,group,split`."""

from __future__ import annotations

import csv
import logging
import os
from pathlib import Path

from kresp3d.datasets.readers.folder_tree import SPLIT_NAMES
from kresp3d.datasets.splits import Entry, Split, count, shorten
from kresp3d.system.errors import KrespError, UsageError

logger = logging.getLogger("kresp3d")


def read_table(path: Path, split_column: str = "split", *, allow_outside: bool = False) -> list[Entry]:
    """Read a CSV file with a header.

    `path` (relative to the file) and `label` are needed, `group` and the split may be missing or empty. Splits are
    train, val, valid, validation or test, in any case. Other columns are passed over.

    Args:
        path: The CSV file, in UTF-8.
        split_column: The column that holds the split.
        allow_outside: Accept videos that are not in the file's folder or below it. Links in it are followed.

    Raises:
        UsageError: If the file is no such table; the message names the line.
        KrespError: If it lists no videos, or none of them exists.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            entries = _read_rows(path, reader, split_column, allow_outside)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a CSV file in UTF-8: {error}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if not entries:
        raise KrespError(f"{path} lists no videos")
    missing = [e.name for e in entries if not _is_file(e.path)]
    if len(missing) == len(entries):
        raise KrespError(f"{path}: none of its videos exists, such as {entries[0].path}; paths are relative to the CSV")
    if missing:
        logger.warning("%s: %s not found: %s", path, count(len(missing), "video"), shorten(missing))
    return entries


def _read_rows(path: Path, reader: csv.DictReader[str], split_column: str, allow_outside: bool) -> list[Entry]:
    columns = [c.strip() for c in reader.fieldnames or ()]
    reader.fieldnames = columns
    wanted = ["path", "label"] + ([split_column] if split_column != "split" else [])
    lacking = [c for c in wanted if c not in columns]
    if lacking:
        raise UsageError(f"{path}: no column {', '.join(lacking)}; found {', '.join(columns) or 'no header'}")
    entries: list[Entry] = []
    lines: dict[str, int] = {}
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if None in row:
            raise UsageError(f"{where}: more values than the {count(len(columns), 'column')} {', '.join(columns)}")
        values = {column: (value or "").strip() for column, value in row.items()}
        for column in ("path", "label"):
            if not values[column]:
                raise UsageError(f"{where}: no {column}; the columns are {', '.join(columns)}")
        file = Path(values["path"])
        # No other `~`: it may be the first sign of a name.
        file = path.parent / (file.expanduser() if file.parts[:1] == ("~",) else file)
        name = _name(file, path.parent)
        if not allow_outside and name.split("/", 1)[0] == "..":
            raise UsageError(
                f"{where}: {values['path']} is outside {path.parent}; put the CSV above its videos, or set "
                "data.allow_outside: true if you trust it"
            )
        if name in lines:
            raise UsageError(f"{where}: {name} is already in line {lines[name]}")
        lines[name] = reader.line_num
        split = _split(values.get(split_column, ""), where, split_column)
        entries.append(Entry(file, name, values["label"], values.get("group") or None, split))
    return entries


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _name(file: Path, root: Path) -> str:
    """The path from the CSV's folder, one for each file, whether it was given as relative or absolute."""
    return Path(os.path.relpath(file, root)).as_posix()


def _split(value: str, where: str, column: str) -> Split | None:
    if not value:
        return None
    if value.lower() not in SPLIT_NAMES:
        raise UsageError(f"{where}: {column} must be train, validation, test or empty, received {value!r}")
    return SPLIT_NAMES[value.lower()]

"""The catalog: which videos there are, their classes, their groups, and their splits."""

from __future__ import annotations

import difflib
import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kresp3d.config.schema import DataConfig
from kresp3d.datasets.readers.csv_table import read_table
from kresp3d.datasets.readers.folder_tree import find_videos, read_tree, stem
from kresp3d.datasets.readers.official_lists import UCF101_NAME, find_lists, read_official, require_lists
from kresp3d.datasets.splits import Entry, Split, check_classes, check_leaks, complete_splits, count
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.storage import local
from kresp3d.system.text import printable

logger = logging.getLogger("kresp3d")


@dataclass(frozen=True, slots=True)
class Video:
    """One video. `name` is its path below the catalog's root, with slashes, and is unique."""

    path: Path
    name: str
    label: str
    group: str | None
    split: Split


@dataclass(frozen=True)
class Catalog:
    """Videos, sorted by name, and their classes, sorted. A class's place is its number for the network."""

    videos: tuple[Video, ...]
    classes: tuple[str, ...]

    def split(self, name: Split) -> tuple[Video, ...]:
        """The videos of one split."""
        return tuple(video for video in self.videos if video.split == name)


def load_catalog(config: DataConfig) -> Catalog:
    """List the videos that `config.videos` names and settle their splits.

    It is a CSV file (`path,label,group,split`), an UCF101 or HMDB51 tree with its official lists, or a folder of
    `class/video`. What the data does not split is split by groups and `config.split_seed`.

    Raises:
        UsageError: If a key of the configuration does not fit the data, or a CSV has a wrong line.
        KrespError: If there are no videos, fewer than two classes, a class without training videos, or a group on two
            sides of the split.
    """
    source = _source(config)
    catalog = catalog_of(_read(source, config), config, source)
    _warn_of_twins(catalog.classes, source)
    return catalog


def read_entries(config: DataConfig) -> list[Entry]:
    """List the videos that `config.videos` names, of the classes in `config.classes`, with the splits that they bring.

    Groups are named as `load_catalog` does it.

    Returns:
        Videos, sorted by name, whose split is `None` where the data does not say.

    Raises:
        UsageError: If a key of the configuration does not fit the data, or a CSV has a wrong line.
        KrespError: If there are no videos, or two have the same name.
    """
    source = _source(config)
    entries = sorted(_entries(_read(source, config), config, source), key=lambda entry: entry.name)
    _warn_of_twins({entry.label for entry in entries}, source)
    return entries


def _source(config: DataConfig) -> Path:
    source = local(config.videos).expanduser()
    if not source.exists():
        raise UsageError(f"data.videos: expected a folder of videos or a CSV file, but {source} does not exist")
    return source


def catalog_of(found: Sequence[Entry], config: DataConfig, source: Path) -> Catalog:
    """Make a catalog of the videos that were found.

    Args:
        found: The videos, with what their places say of them.
        config: The classes, groups and splits.
        source: Where they were found: a folder, or a CSV file.

    Raises:
        UsageError: As `load_catalog`.
        KrespError: As `load_catalog`.
    """
    entries = _entries(found, config, source)
    entries = complete_splits(entries, validation=config.validation, test=config.test, seed=config.split_seed)
    check_leaks(entries, allow=config.allow_group_leak, where=str(source))
    check_classes(entries, str(source))
    videos = (Video(e.path, e.name, e.label, e.group, e.split) for e in entries if e.split is not None)
    return Catalog(
        videos=tuple(sorted(videos, key=lambda video: video.name)),
        classes=tuple(sorted({e.label for e in entries})),
    )


def _entries(found: Sequence[Entry], config: DataConfig, source: Path) -> list[Entry]:
    """Name what was found, leave out what is of no wanted class, and take groups from names."""
    _check_shown(found, source)
    entries = [_printable(entry) for entry in found]
    _check_names(entries, source)
    return _name_groups(_of_classes(entries, config.classes, source), config.group_regex)


def _printable(entry: Entry) -> Entry:
    """The entry with names that can be shown and written in UTF-8."""
    group = None if entry.group is None else printable(entry.group)
    return replace(entry, name=printable(entry.name), label=printable(entry.label), group=group)


def _check_shown(entries: Sequence[Entry], source: Path) -> None:
    """Refuse classes, or groups, that would be taken for one since they are shown alike."""
    for kind, texts in (("classes", {e.label for e in entries}), ("groups", {e.group for e in entries} - {None})):
        known = Counter(printable(text) for text in texts)
        twice = [text for text, number in known.items() if number > 1]
        if twice:
            raise KrespError(f"{source} has two {kind} that are shown as {twice[0]}; rename one of them")


def _warn_of_twins(classes: Iterable[str], source: Path) -> None:
    twins: dict[str, list[str]] = defaultdict(list)
    for label in sorted(classes):
        twins[folded(label)].append(label)
    for labels in twins.values():
        if len(labels) > 1:
            logger.warning(
                "%s: the classes %s differ only in case, spaces or signs that look alike; if they are one class, give "
                "them one name",
                source,
                " and ".join(f"'{label}'" for label in labels),
            )


def folded(label: str) -> str:
    """A class's name without what people write now this way and now that: case, spaces, and forms of one sign."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", label).casefold().strip())


def _check_names(entries: Sequence[Entry], source: Path) -> None:
    known: set[str] = set()
    for entry in entries:
        if entry.name in known:
            raise KrespError(f"{source} has two videos that are shown as {entry.name}; rename one of them")
        known.add(entry.name)


def _of_classes(entries: list[Entry], classes: Sequence[str] | None, source: Path) -> list[Entry]:
    if classes is None:
        return entries
    known = {e.label for e in entries}
    for name in classes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise UsageError(f"data.classes: there is no class '{name}' in {source}{hint}")
    return [e for e in entries if e.label in classes]


def _read(source: Path, config: DataConfig) -> list[Entry]:
    if source.is_file():
        return _read_file(source, config)
    if config.format == "csv":
        raise UsageError(f"data.format is csv, but {source} is a folder")
    if config.split_column != "split":
        raise UsageError(f"data.split_column is for a CSV file, but {source} is a folder")
    videos = find_videos(source)
    if not videos:
        raise KrespError(
            f"no videos in {source}: expected {source.name or source}/CLASS/VIDEO, with videos such as .mp4 or .avi"
        )
    if config.format == "folder":
        if config.splits is not None:
            raise UsageError("data.splits is for the official lists of UCF101 and HMDB51, but data.format is folder")
        return read_tree(source, videos)
    kind = None if config.format == "auto" else config.format
    if config.splits is not None:
        return read_official(source, videos, require_lists(local(config.splits).expanduser(), config.split, kind))
    lists = find_lists(source, videos, config.split, kind)
    if lists is not None:
        logger.info("%s: official split %d of %s from %s", source, config.split, lists.kind, lists.folder)
        return read_official(source, videos, lists)
    if kind is not None:
        raise UsageError(
            f"data.format is {kind}, but no lists of split {config.split} that name videos of {source} are in it or "
            "beside it; name their folder in data.splits"
        )
    _mention_tables(source)
    return read_tree(source, videos)


def _read_file(source: Path, config: DataConfig) -> list[Entry]:
    if config.format not in ("auto", "csv"):
        raise UsageError(f"data.format is {config.format}, which is a folder, but {source} is a file")
    if config.format == "auto" and source.suffix.lower() != ".csv":
        raise UsageError(f"data.videos: expected a folder of videos or a .csv file, received {source}")
    if config.splits is not None:
        raise UsageError(f"data.splits is for the official lists of UCF101 and HMDB51, but {source} is a CSV file")
    return read_table(source, config.split_column, allow_outside=config.allow_outside)


def _mention_tables(folder: Path) -> None:
    tables = sorted(folder.glob("*.csv"))
    if tables:
        logger.warning("%s is read as class/video; to use %s, name it in data.videos", folder, tables[0].name)


def _name_groups(entries: Sequence[Entry], expression: str | None) -> list[Entry]:
    """Take groups from names: by the user's expression or, if all are UCF101's and have no groups, by UCF101's."""
    if expression is None:
        matches = [UCF101_NAME.search(stem(e.name)) for e in entries]
        if not all(matches) or any(e.group for e in entries):
            return list(entries)
        return [replace(e, group=m[1].lower()) for e, m in zip(entries, matches, strict=True) if m]
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise UsageError(f"data.group_regex '{expression}' is not a regular expression: {error}") from None
    if pattern.groups == 0:
        raise UsageError(f"data.group_regex '{expression}' has no group in parentheses, such as 'person(\\d+)'")
    named = [(e, pattern.search(e.name)) for e in entries]
    wrong = [e.name for e, match in named if match is None or not match[1]]
    if wrong:
        raise KrespError(
            f"data.group_regex '{expression}' does not fit {count(len(wrong), 'video')} of {len(entries)}, "
            f"such as {wrong[0]}"
        )
    return [replace(e, group=match[1]) for e, match in named if match]

"""The official splits of UCF101 and HMDB51."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kresp3d.datasets.readers.folder_tree import stem
from kresp3d.datasets.splits import Entry, Split, count
from kresp3d.system.errors import KrespError, UsageError

Kind = Literal["ucf101", "hmdb51"]
#: A class and a name in lower case, without its ending; the class is empty where the lists do not name it.
Key = tuple[str, str]

#: `v_PushUps_g08_c01`: clip 1 of group 8, which are clips of one source. All classes have the same 25 names.
UCF101_NAME = re.compile(r"_(g\d+)_c\d+$", re.IGNORECASE)

logger = logging.getLogger("kresp3d")


@dataclass(frozen=True)
class Lists:
    """One of the official splits: `splits` says where each listed video goes."""

    kind: Kind
    folder: Path
    splits: dict[Key, Split]

    def find(self, video: Path) -> Split | None:
        """The split of a video, by the name of its folder and its own; `None` if it is not listed."""
        return self.splits.get(self.key(video))

    def key(self, video: Path) -> Key:
        """The key under which a video would be listed."""
        name = stem(video.name).casefold()
        named = (video.parent.name.casefold(), name)
        return named if named in self.splits else ("", name)


def read_lists(folder: Path, number: int) -> Lists | None:
    """Read the lists of split `number` (1 to 3) in a folder; `None` if there are none.

    UCF101 has `trainlist01.txt` and `testlist01.txt` with lines `Class/v_Class_g08_c01.avi 1`. HMDB51 has either the
    same files with lines `NAME LABEL`, or one file for each class, `CLASS_test_split1.txt`, with lines `NAME.avi 1`
    (1 training, 2 testing, 0 neither).

    Raises:
        KrespError: If a list cannot be read, or names a video twice.
    """
    train, test = (folder / f"{side}list{number:02d}.txt" for side in ("train", "test"))
    by_class = sorted(folder.glob(f"*_test_split{number}.txt"))
    splits: dict[Key, Split] = {}
    if train.is_file() and test.is_file():
        named: tuple[tuple[Path, Split], ...] = ((train, "train"), (test, "test"))
        for file, split in named:
            for _, words in _lines(file):
                *before, name = words[0].replace("\\", "/").split("/")
                _add(splits, (before[-1].casefold() if before else "", stem(name).casefold()), split, file)
        # HMDB51's lists do not name the class but by a number.
        kind: Kind = "ucf101" if any(label for label, _ in splits) else "hmdb51"
        return Lists(kind, folder, splits)
    for file in by_class:
        label = file.name.removesuffix(f"_test_split{number}.txt").casefold()
        for line, words in _lines(file):
            if words[-1] not in ("0", "1", "2") or len(words) < 2:
                raise KrespError(f"{file}, line {line}: expected NAME and 0, 1 or 2, received {' '.join(words)!r}")
            if words[1] != "0":
                _add(splits, (label, stem(words[0]).casefold()), "train" if words[1] == "1" else "test", file)
    return Lists("hmdb51", folder, splits) if by_class else None


def _lines(file: Path) -> Iterable[tuple[int, list[str]]]:
    """Number and words of each line: a name, which may have blanks, and perhaps a number."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise KrespError(f"{file} cannot be read: {error}") from None
    for line, content in enumerate(text.splitlines(), start=1):
        match = re.fullmatch(r"\s*(\S.*?)(?:\s+(\d+))?\s*", content)
        if match:
            yield line, [word for word in match.groups() if word]


def _add(splits: dict[Key, Split], key: Key, split: Split, file: Path) -> None:
    if key in splits:
        raise KrespError(f"{file}: {'/'.join(filter(None, key))} is listed twice")
    splits[key] = split


def find_lists(root: Path, videos: Sequence[Path], number: int, kind: Kind | None) -> Lists | None:
    """Look for official lists in and beside a folder of videos.

    Args:
        root: The folder of videos.
        videos: Its videos.
        number: Which of the three splits.
        kind: The dataset; `None` for either, if the lists name at least half of the videos.

    Returns:
        The lists that name most of the videos; `None` if there are none.
    """
    best, most = None, 0
    for place in (root, root.resolve().parent):
        inner = sorted(p for p in place.glob("*") if re.search("split|traintestlist", p.name.lower()) and p.is_dir())
        for folder in (place, *inner):
            lists = read_lists(folder, number)
            if lists is None or kind not in (None, lists.kind):
                continue
            matches = sum(lists.find(video) is not None for video in videos)
            if matches > most and (kind is not None or 2 * matches >= len(videos)):
                best, most = lists, matches
    return best


def read_official(root: Path, videos: Sequence[Path], lists: Lists) -> list[Entry]:
    """Take the videos that the lists name; the class is the folder that a video lies in.

    Args:
        root: The folder.
        videos: What is there, relative to it.
        lists: The official split.

    Raises:
        KrespError: If no video is listed, or two have the same name.
    """
    entries: dict[Key, Entry] = {}
    for video in videos:
        key, split = lists.key(video), lists.find(video)
        if split is None:
            continue
        if key in entries:
            raise KrespError(f"{root}: {entries[key].name} and {video.as_posix()} have the same name; keep one of them")
        entries[key] = Entry(root / video, video.as_posix(), video.parent.name, split=split)
    if not entries:
        raise KrespError(f"none of the videos in {root} is in the official lists in {lists.folder}")
    unlisted = [v.as_posix() for v in videos if lists.find(v) is None]
    if unlisted:
        message = "%s: %s not in the official split left out, such as %s"
        logger.warning(message, root, count(len(unlisted), "video"), unlisted[0])
    absent = len(lists.splits) - len(entries)
    if absent:
        logger.warning("%s: %d of the %d videos in the official lists are not there", root, absent, len(lists.splits))
    return list(entries.values())


def require_lists(folder: Path, number: int, kind: Kind | None) -> Lists:
    """Read lists that the user named.

    Raises:
        UsageError: If there are none in the folder, or those of another dataset.
    """
    lists = read_lists(folder, number) if folder.is_dir() else None
    if lists is None:
        raise UsageError(
            f"data.splits: expected a folder with trainlist{number:02d}.txt and testlist{number:02d}.txt, or "
            f"CLASS_test_split{number}.txt, received {folder}"
        )
    if kind not in (None, lists.kind):
        raise UsageError(f"data.format is {kind}, but the lists in {folder} are those of {lists.kind}")
    return lists

"""Videos that are there twice: files of the same content under different names."""

from __future__ import annotations

import errno
import hashlib
import logging
import stat
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

#: Bytes at the beginning and at the end of a file that are compared before the whole of it is read.
_ENDS = 2**16

logger = logging.getLogger("kresp3d")


def equal_files(
    paths: Sequence[Path], wanted: Callable[[Sequence[int]], bool] = lambda indices: True
) -> list[list[int]]:
    """Find files of the same content. Few are read: only those of the same size, and at first only their ends.

    Args:
        paths: The files; those that cannot be read are passed over.
        wanted: Whether equal files are of interest, by their indices; others are not read further.

    Returns:
        The indices of equal files, two or more each.
    """
    found = [list(range(len(paths)))]
    for key in (_size, _ends, _whole):
        parts = [part for indices in found for part in _parts(indices, paths, key)]
        found = [part for part in parts if len(part) > 1 and wanted(part)]
    return found


def copies_of(files: Mapping[str, Path], others: Mapping[str, Path]) -> dict[str, str]:
    """Find the files that have the content of others.

    Args:
        files: By name.
        others: By name.

    Returns:
        The name of each file that is a copy -> that of the first of the others with its content; in the order of
        `files`.
    """
    names, number = [*files, *others], len(files)
    equal = equal_files([*files.values(), *others.values()], lambda same: min(same) < number <= max(same))
    originals = {index: next(other for other in same if other >= number) for same in equal for index in same}
    return {name: names[originals[index]] for index, name in enumerate(files) if index in originals}


def warn_of_copies(files: Mapping[str, Path], sides: Mapping[str, Hashable], where: str) -> None:
    """Warn of files of the same content on different sides of a split, or in different folds.

    Args:
        files: By name.
        sides: The side of each.
        where: What a sentence calls the sides, such as `side of the split`.
    """
    names = list(files)
    equal = equal_files([*files.values()], lambda indices: len({sides[names[index]] for index in indices}) > 1)
    if equal:
        one = names[equal[0][0]]
        other = next(names[index] for index in equal[0] if sides[names[index]] != sides[one])
        logger.warning(
            "%s the same content as another one on another %s, such as %s and %s: scores are too good; remove all but "
            "one of each, or give them one group",
            "1 video has" if len(equal) == 1 else f"{len(equal)} videos have",
            where,
            one,
            other,
        )


def _parts(indices: Sequence[int], paths: Sequence[Path], key: Callable[[Path], Hashable]) -> list[list[int]]:
    parts: dict[Hashable, list[int]] = defaultdict(list)
    for index in indices:
        try:
            parts[key(paths[index])].append(index)
        except OSError:
            continue
    return list(parts.values())


def _size(path: Path) -> int:
    status = path.stat()
    # A pipe has no content to compare, and whoever opens it waits for somebody to write.
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return status.st_size


def _ends(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_ENDS))
        file.seek(max(0, file.seek(0, 2) - _ENDS))
        digest.update(file.read(_ENDS))
    return digest.hexdigest()


def _whole(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Files that are there wholly or not at all, and folders that one process holds."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from kresp3d.errors import KrespError

#: In a folder that processes hold.
LOCK = ".lock"
#: Begins the names of files that are being written, or were when a process was killed.
PART = ".part-"


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what was written there appears as `path` when the block ends well."""
    temporary = path.with_name(f"{PART}{os.getpid()}-{path.name}")
    try:
        yield temporary
        # Else a power cut could leave the name with nothing behind it.
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file that is there wholly or not at all."""
    with written_aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def remove(path: Path) -> None:
    """Delete a file, a link, or a folder with all that is in it; what is not there is gone already."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def names_in(folder: Path, own: Collection[str], what: str) -> tuple[list[str], list[str]]:
    """What is in a folder: all names, and those that are no part of what it is to hold; both sorted.

    Locks and files that were being written belong to it. Where there is no folder, nothing is in it.

    Args:
        folder: The folder.
        own: The names that are a part.
        what: What the folder is to hold, for the message, such as `a sweep`.

    Raises:
        KrespError: If it is a file.
    """
    if folder.is_file():
        raise KrespError(f"{folder} is a file; {what} needs a folder")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return names, [name for name in names if name not in own and not name.startswith((LOCK, PART))]


@contextmanager
def locked(folder: Path, doing: str, *, shared: bool = False) -> Iterator[None]:
    """Hold a folder that is there.

    Args:
        folder: The folder.
        doing: What another process would be doing, and what to do about it, for the message.
        shared: Others may hold it too, if they share it as well; otherwise this process alone does.

    Raises:
        KrespError: If another process holds the folder in a way that excludes this one.
    """
    with (folder / LOCK).open("a") as file:
        try:
            # Released by the system when the process ends, however it ends; so there are no stale locks.
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KrespError(f"another process is {doing}") from None
        yield

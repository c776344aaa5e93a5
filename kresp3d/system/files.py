"""Files that are there wholly or not at all, and folders that one process holds; on disks and in object stores."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kresp3d.system.errors import KrespError
from kresp3d.system.remote_lock import remote_lock
from kresp3d.system.storage import RemotePath

#: In a folder that processes hold.
LOCK = ".lock"
#: Begins the names of files that are being written, or were when a process was killed.
PART = ".part-"


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary name on this machine; what was written there appears as `path` when the block ends well."""
    if isinstance(path, RemotePath):
        with tempfile.TemporaryDirectory(prefix="kresp3d-") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            path.upload(temporary)
        return
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


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file that is there wholly or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def append(path: Path, data: bytes) -> None:
    """Write to the end of a file; it is on the disk then, and as it was before if that fails."""
    if isinstance(path, RemotePath):
        path.write_bytes((path.read_bytes() if path.exists() else b"") + data)
        return
    before = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        if path.is_file():
            os.truncate(path, before)
        raise


@contextmanager
def log_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that a process may write to, and that is added to `path`: at once on a disk, else when the block ends."""
    if not isinstance(path, RemotePath):
        with path.open("ab") as file:
            yield file
        return
    with tempfile.TemporaryFile(prefix="kresp3d-") as file:
        try:
            yield file
        finally:
            file.seek(0)
            append(path, file.read())


def copy_tree(source: Path, target: Path, leave_out: Collection[str]) -> None:
    """Copy a folder without the files and folders of some names; it is there wholly or not at all but in a store."""
    if not isinstance(target, RemotePath):
        copy = target.with_name(f"{PART}{target.name}")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*leave_out))
        copy.rename(target)
        return
    with at_hand(source) as here:
        for name in leave_out:
            remove(here / name)
        publish(here, target)


def remove(path: Path) -> None:
    """Delete a file, a link, or a folder with all that is in it; what is not there is gone already."""
    if path.is_dir() and not path.is_symlink():
        path.rmtree() if isinstance(path, RemotePath) else shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def put_together(folder: Path, prefix: str = PART) -> Iterator[Path]:
    """Give an empty folder on this machine from which files can be published into `folder`; it goes in the end.

    Args:
        folder: Where the files are to be; the empty one is in it if it is on this machine.
        prefix: Begins the name of the empty one.
    """
    place = None if isinstance(folder, RemotePath) else folder
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place) as name:
        yield Path(name)


def publish(source: Path, target: Path) -> None:
    """Move a file or folder of `put_together` to its place, where it replaces what is there.

    In an object store a file is there wholly or not at all; of a folder, the files at its top come last.
    """
    if not isinstance(target, RemotePath):
        if source.is_dir() and target.is_dir():
            # Until the new one is there, the old one is kept.
            old = target.with_name(f"{PART}{os.getpid()}-old-{target.name}")
            target.rename(old)
            try:
                source.rename(target)
            except OSError:
                old.rename(target)
                raise
            remove(old)
        else:
            source.replace(target)
        return
    if source.is_dir():
        remove(target)
    paths = [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source]
    # `saved_model.pb` is at the top, and without it a folder is no SavedModel.
    for path in sorted(paths, key=lambda path: -len(path.parts)):
        place = target / path.relative_to(source) if path != source else target
        place.parent.mkdir(parents=True, exist_ok=True)
        place.upload(path)


@contextmanager
def at_hand(path: Path, *beside: Path) -> Iterator[Path]:
    """Give a file or folder on this machine: `path` itself, or a copy of it that goes in the end.

    Args:
        path: The file or folder.
        *beside: What else is to be beside it, in the same folder now and then.

    Raises:
        FileNotFoundError: If one is in an object store, and not there.
    """
    if not isinstance(path, RemotePath):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="kresp3d-") as name:
        folder = Path(name)
        for source in (path, *beside):
            for file in source.files() if isinstance(source, RemotePath) and source.is_dir() else (source,):
                copy = folder / file.relative_to(path.parent)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
        yield folder / path.name


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
def locked(folder: Path, doing: str, *, shared: bool = False, name: str = LOCK) -> Iterator[None]:
    """Hold a folder that is there.

    Args:
        folder: The folder.
        doing: What another process would be doing, and what to do about it, for the message.
        shared: Others may hold it too, if they share it as well; otherwise this process alone does.
        name: What is held of it; begins with `LOCK`.

    Raises:
        KrespError: If another process holds the folder in a way that excludes this one.
    """
    if isinstance(folder, RemotePath):
        # Readers of an object have what they read, and nobody waits for them.
        with contextlib.nullcontext() if shared else remote_lock(folder / name, doing):
            yield
        return
    with (folder / name).open("a") as file:
        try:
            # Released by the system when the process ends, however it ends; so there are no stale locks.
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KrespError(f"another process is {doing}") from None
        yield

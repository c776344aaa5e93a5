"""Folders in object stores, such as `s3://bucket/runs/base`, with the interface of `pathlib`, by `tf.io.gfile`.

`location` makes a path of what a person has written. What takes a `Path` takes either kind; where a file must be on
this machine, as for a library that opens it by name, `kresp3d.system.files` has what brings it here and back.

An object store has no folders: one is there when something is in it. An object is there wholly or not at all, and is
never appended to; so files are made on this machine and then uploaded.
"""

from __future__ import annotations

import errno
import fnmatch
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PosixPath
from typing import IO, Any, NoReturn

from kresp3d.system.errors import UsageError
from kresp3d.system.stores import open_store

#: Schemes of file systems where a folder is there by itself.
WITH_FOLDERS = {"hdfs"}

#: Of two letters at least; one is a drive.
_SCHEME = r"[a-zA-Z][a-zA-Z0-9+.-]+"


def location(path: str | os.PathLike[str]) -> Path:
    """A path of this machine, or a `RemotePath` where the text begins with a scheme, as in `s3://bucket/folder`.

    Raises:
        UsageError: If it names a store and nothing in it, which TensorFlow takes for no folder.
    """
    if not is_remote(path):
        return Path(path)
    remote = RemotePath(path)
    if len(remote.parts) < 3:
        raise UsageError(f"{remote} names no folder; expected {remote.scheme}://{remote.authority or 'NAME'}/FOLDER")
    return remote


def local(path: str | os.PathLike[str]) -> Path:
    """A path of this machine.

    Raises:
        UsageError: If it begins with a scheme.
    """
    if is_remote(path):
        raise UsageError(f"{os.fspath(path)} is in an object store, where this cannot be; name a place on this machine")
    return Path(path)


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path begins with a scheme."""
    return re.match(f"{_SCHEME}://", os.fspath(path)) is not None


class RemotePath(PosixPath):
    """A file or folder in an object store.

    Its store is looked for before the first access; see `kresp3d.system.stores.open_store`.

    Raises:
        KrespError: By all that accesses it, if the store cannot be used.
        OSError: As `pathlib` does.
        NotImplementedError: By what an object store cannot do, such as appending to a file.
    """

    def __str__(self) -> str:
        # pathlib takes two slashes for one.
        return re.sub(rf"({_SCHEME}):/+(?=[^/]|$)", r"\1://", super().__str__(), count=1)

    def __fspath__(self) -> str:
        return str(self)

    @property
    def scheme(self) -> str:
        """Such as `s3`."""
        return str(self).partition("://")[0].lower()

    @property
    def authority(self) -> str:
        """What stands after the scheme: the bucket, for Azure the account, for HDFS the name node."""
        return str(self).partition("://")[2].partition("/")[0]

    def resolve(self, strict: bool = False) -> RemotePath:
        """This path: there are no links, and no folder that it could be relative to."""
        return self

    def absolute(self) -> RemotePath:
        """This path."""
        return self

    def expanduser(self) -> RemotePath:
        """This path."""
        return self

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is such a file, or something in such a folder."""
        return self._status() is not None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is such a file."""
        status = self._status()
        return status is not None and not status.is_directory

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is something in such a folder."""
        status = self._status()
        return status is not None and bool(status.is_directory)

    def is_symlink(self) -> bool:
        """Never."""
        return False

    def samefile(self, other_path: str | os.PathLike[str]) -> bool:
        """Whether it is the same path."""
        return str(self) == os.fspath(other_path)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size and time of last change; the rest is 0.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        status = self._status()
        if status is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        seconds = status.mtime_nsec / 1e9
        return os.stat_result((0, 0, 0, 0, 0, 0, status.length, seconds, seconds, seconds))

    def _status(self) -> Any:
        try:
            with self._store() as gfile:
                return gfile.stat(str(self))
        except FileNotFoundError:
            return None

    def iterdir(self) -> Iterator[RemotePath]:  # type: ignore[override]
        """What is in the folder; nothing where there is no such folder."""
        try:
            with self._store() as gfile:
                names = gfile.listdir(str(self))
        except FileNotFoundError:
            return
        for name in sorted(names):
            yield self / name.rstrip("/")

    def glob(self, pattern: str, **options: Any) -> Iterator[RemotePath]:  # type: ignore[override]
        """What is in the folder and matches a pattern of `*` and `?`, which names no folders in between."""
        if "/" in pattern:
            _refuse(self)
        # TensorFlow would take signs in the folder's own name for a pattern, too.
        for path in self.iterdir():
            if fnmatch.fnmatchcase(path.name, pattern):
                yield path

    def files(self) -> Iterator[RemotePath]:
        """All files below this folder."""
        with self._store() as gfile:
            for folder, _, names in gfile.walk(str(self)):
                for name in sorted(names):
                    yield RemotePath(folder) / name

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a folder where there are any, as on HDFS."""
        if self.scheme in WITH_FOLDERS:
            with self._store() as gfile:
                gfile.makedirs(str(self))

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete a file."""
        try:
            with self._store() as gfile:
                gfile.remove(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmtree(self) -> None:
        """Delete a folder with all that is in it."""
        with self._store() as gfile:
            gfile.rmtree(str(self))

    def read_bytes(self) -> bytes:
        """What is in the file."""
        with self._store() as gfile, gfile.GFile(str(self), "rb") as file:
            content: bytes = file.read()
        return content

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:
        """What is in the file, as text."""
        return io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding, errors, newline).read()

    def write_bytes(self, data: Any) -> int:
        """Write a file."""
        with self._store() as gfile, gfile.GFile(str(self), "wb") as file:
            file.write(bytes(data))
        return len(data)

    def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> int:
        """Write a file of text."""
        return self.write_bytes(data.encode(encoding or "utf-8", errors or "strict"))

    def open(  # type: ignore[override]
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Read the whole file, and give it as an open one.

        Raises:
            NotImplementedError: If it is to be written; see `kresp3d.system.files.written_aside`.
        """
        if set(mode) - set("rbt"):
            raise NotImplementedError(f"{self} can be opened for reading only, received the mode {mode!r}")
        content = io.BytesIO(self.read_bytes())
        return content if "b" in mode else io.TextIOWrapper(content, encoding, errors, newline)

    def upload(self, source: Path) -> None:
        """Make this file a copy of one on this machine; it is there wholly or not at all."""
        with self._store() as gfile:
            gfile.copy(str(source), str(self), overwrite=True)

    @contextmanager
    def _store(self) -> Iterator[Any]:
        """`tf.io.gfile`, whose errors become Python's."""
        # Before TensorFlow is imported, which takes seconds.
        open_store(self.scheme, self.authority)
        import tensorflow as tf

        with os_errors(self):
            yield tf.io.gfile


def _refuse(self: RemotePath, *arguments: Any, **options: Any) -> NoReturn:
    raise NotImplementedError(f"an object store cannot do this with {self}")


# pathlib would do these to a file of this machine.
for _name in (
    *("chmod", "group", "hardlink_to", "lchmod", "lstat", "owner", "readlink", "rename", "replace", "rglob", "rmdir"),
    *("symlink_to", "touch", "walk"),
):
    setattr(RemotePath, _name, _refuse)


def reason(error: Exception) -> str:
    """What the system, or a store, said in an error of Python's or TensorFlow's, in one line."""
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    else:
        # TensorFlow names the operation around its message, and the path before it.
        text = re.sub(r"\{\{.*?\}\}|\[Op:\w+\]", "", str(error)).rpartition("; ")[2]
    return " ".join(text.split())[:300]


@contextmanager
def os_errors(path: Path) -> Iterator[None]:
    """Turn what TensorFlow raises when a file is read or written into Python's error of the same meaning."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        numbers = {
            tf.errors.NotFoundError: errno.ENOENT,
            tf.errors.ResourceExhaustedError: errno.ENOSPC,
            tf.errors.PermissionDeniedError: errno.EACCES,
            tf.errors.UnauthenticatedError: errno.EACCES,
            tf.errors.AlreadyExistsError: errno.EEXIST,
        }
        number = next((number for kind, number in numbers.items() if isinstance(error, kind)), errno.EIO)
        raise OSError(number, error.message, str(path)) from error

"""Decoding in worker processes, so that a file which crashes, hangs or floods the decoder harms no other.

The limits of each video: `time_limit` seconds, `MEMORY` bytes, and `kresp3d.video.decode.MAX_PIXELS` for a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, Self, TypeVar

from kresp3d.system.errors import VideoError
from kresp3d.system.machine import count_cores
from kresp3d.system.worker import Team, Worker, WorkerDiedError, WorkerTimeoutError

T = TypeVar("T")
#: Called with the number of videos done and of all videos.
Progress = Callable[[int, int], None]

#: Bytes of data that a process may have which decodes: a whole record's pictures, twice while they are sent, and the
#: decoder's own.
MEMORY = 4 * 2**30
#: Seconds that decoding one video may take where nobody says otherwise.
TIME_LIMIT = 600.0


def map_videos(
    function: Callable[[Path], T],
    paths: Sequence[Path],
    workers: int | None = None,
    *,
    time_limit: float | None = TIME_LIMIT,
) -> Generator[T | VideoError, None, None]:
    """Apply a function to each video, in worker processes; see `VideoWorkers.map`.

    Args:
        function: Takes a path.
        paths: The videos.
        workers: Processes; by default one for each core this process may use.
        time_limit: Seconds that a video may take; `None`: no limit.
    """
    with VideoWorkers(len(paths), workers, time_limit=time_limit) as team:
        yield from team.map(function, paths)


class VideoWorkers(Team):
    """Processes that work on one video each, started at once.

    Args:
        videos: How many there will be: more processes are not started.
        workers: Processes; by default one for each core this process may use.
        imports: Modules of the function that they will be given, to import while this process does something else.
        time_limit: Seconds that a video may take; `None`: no limit.

    Raises:
        KrespError: If they cannot be started.
    """

    def __init__(
        self,
        videos: int,
        workers: int | None = None,
        *,
        imports: Sequence[str] = (),
        time_limit: float | None = TIME_LIMIT,
    ) -> None:
        count = min(workers or count_cores(), videos)
        super().__init__(count, memory=MEMORY, imports=imports)
        self._time_limit = time_limit

    def map(self, function: Callable[[Path], T], paths: Iterable[Path]) -> Iterator[T | VideoError]:
        """Apply a function to each video.

        A video on which the function raises `VideoError`, takes too long or too much memory, or on which its process
        dies (a decoder may crash on a damaged file), gives that error; any other error is raised.

        Args:
            function: Takes a path. It is pickled, so it must be importable; its module should not import TensorFlow.
            paths: The videos.

        Yields:
            The result for each video, in the order of `paths`.

        Raises:
            KrespError: If worker processes cannot be started.
        """
        return self.each(partial(self._work, function), paths)

    def _work(self, function: Callable[[Path], T], worker: Worker, path: Path) -> T | VideoError:
        try:
            with _blamed(path, self._time_limit):
                return worker.run(function, path, time_limit=self._time_limit)
        except VideoError as error:
            return error


class Decode(Protocol):
    """Decodes a video: applies a function to its path, and gives what that gives, such as the frames."""

    def __call__(self, function: Callable[[Path], Iterable[T]], path: Path) -> Iterator[T]:
        """Iterate over what the function gives for the path."""
        ...


def decode_here(function: Callable[[Path], Iterable[T]], path: Path) -> Iterator[T]:
    """Decode in this process, which a hostile file may crash or hang; see `DecoderProcess`."""
    yield from function(path)


class DecoderProcess:
    """Decodes one video after another in a process of its own.

    Args:
        imports: Modules of the functions that it will be given, to import while this process does something else.
        time_limit: Seconds that are waited for each video; `None`: no limit.
    """

    def __init__(self, *, imports: Sequence[str] = (), time_limit: float | None = TIME_LIMIT) -> None:
        self._worker = Worker(memory=MEMORY, imports=imports)
        self._time_limit = time_limit

    def __call__(self, function: Callable[[Path], Iterable[T]], path: Path) -> Iterator[T]:
        """See `Decode`. The function must be importable, and its module should not import TensorFlow.

        Raises:
            VideoError: If the function raises it, or takes too long or too much memory, or its process dies.
        """
        with _blamed(path, self._time_limit):
            yield from self._worker.stream(function, path, time_limit=self._time_limit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()


@contextmanager
def _blamed(path: Path, time_limit: float | None) -> Iterator[None]:
    """Turn what happens to a worker into an error of the video that it was given."""
    try:
        yield
    except WorkerDiedError:
        raise VideoError(path, "the decoder crashed or ran out of memory") from None
    except WorkerTimeoutError:
        raise VideoError(path, f"took longer than {time_limit:g} s to decode") from None
    except MemoryError:
        raise VideoError(path, f"takes more than {MEMORY >> 30} GiB of memory to decode") from None

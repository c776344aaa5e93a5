"""A process that works for this one, and may crash, hang or fill its memory without harm to it.

It imports nothing of the program that started it, unlike the processes of `multiprocessing`: a script needs no
`if __name__ == "__main__":`, and a notebook no file.

this process                         the worker
run(function, …)   ── function ──▶   imports it, calls it
                   ◀── result ───
stream(function, …) ─ function ──▶   iterates over what it gives
                   ◀── item ─────    … as fast as they are taken
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Literal, Self, TypeVar

from kresp3d.system.errors import KrespError

T = TypeVar("T")
Item = TypeVar("Item")

#: Begins a worker: it learns from where this process imports. Ctrl-C goes to every process of a terminal, and is left
#: to this one.
_BEGIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
sys.path[:] = connection.recv()
from kresp3d.system.worker import serve
serve(connection)
"""

#: What a worker says: that it is there, one item of a stream, its end or the result, or an error.
_Kind = Literal["ready", "item", "result", "error"]


class WorkerDiedError(KrespError):
    """A worker process ended in the middle of its work: it crashed, or the system killed it."""


class WorkerTimeoutError(KrespError):
    """A worker process took too long and was killed."""


class Worker:
    """A process that runs one function at a time, and that is started anew when it has died.

    It is started at once and imports in the background. Of its own accord it ends with this process, however that ends.
    Not for several threads at a time.

    Args:
        memory: Bytes of data (`RLIMIT_DATA`) that it may have; more raises `MemoryError` in it. `None`: no limit.
        imports: Modules that it imports at the start.

    Raises:
        KrespError: If it cannot be started.
    """

    def __init__(self, *, memory: int | None = None, imports: Sequence[str] = ()) -> None:
        self._memory = memory
        self._imports = tuple(imports)
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._start()

    def run(self, function: Callable[..., T], *arguments: Any, time_limit: float | None = None) -> T:
        """Call a function in the worker.

        Args:
            function: What is called. It is pickled, so it must be importable, and so must what it takes and gives.
            *arguments: What it takes.
            time_limit: Seconds until the worker is killed.

        Raises:
            WorkerDiedError: If the worker ends instead.
            WorkerTimeoutError: If it takes longer than `time_limit`.
            KrespError: If no worker can be started.
            Exception: Whatever the function raises.
        """
        self._send(function, arguments, streams=False)
        _, result = self._receive(time_limit)
        value: T = result
        return value

    def stream(
        self, function: Callable[..., Iterable[T]], *arguments: Any, time_limit: float | None = None
    ) -> Iterator[T]:
        """Iterate in the worker, which goes no further ahead than a pipe holds.

        Arguments and errors are those of `run`; `time_limit` counts the time that is waited for the worker. When the
        iterator is closed before its end, the worker is killed.
        """
        self._send(function, arguments, streams=True)
        waited = 0.0
        while True:
            begin = time.monotonic()
            kind, item = self._receive(None if time_limit is None else time_limit - waited)
            waited += time.monotonic() - begin
            if kind == "result":
                return
            try:
                yield item
            except GeneratorExit:
                # What comes after would be taken for the answer to the next call.
                self.close()
                raise

    def end(self) -> None:
        """Kill the worker for good; for any thread, while another one waits in `run`, which raises then."""
        self._ended = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Kill the worker. It is started again when it is needed."""
        if self._process is not None:
            self._process.kill()
            # Which closes its standard input too.
            self._process.communicate()
            self._connection.close()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        try:
            connection, theirs = multiprocessing.Pipe()
            with theirs:
                command = [sys.executable, "-P", "-c", _BEGIN, str(theirs.fileno())]
                process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[theirs.fileno()])
        except OSError as error:
            raise KrespError(
                f"a worker process cannot be started ({error.strerror}): the machine is out of processes, memory or "
                "open files; try again with fewer workers, or when it has less to do"
            ) from error
        self._process, self._connection, self._ready = process, connection, False
        # That it has died already shows when it is asked to work.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for message in (sys.path, self._memory, self._imports):
                connection.send(message)
        # `end` may have come before there was a process to kill.
        if self._ended:
            process.kill()

    def _send(self, function: Callable[..., Any], arguments: tuple[Any, ...], *, streams: bool) -> None:
        if self._process is None:
            self._start()
        if not self._ready:
            try:
                self._receive(None)
            except WorkerDiedError:
                if self._ended:
                    raise
                raise KrespError(
                    "a worker process ended while it was starting; the machine may be out of memory"
                ) from None
            self._ready = True
        # That it has ended meanwhile shows when its answer is read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send((function, arguments, streams))

    def _receive(self, time_limit: float | None) -> tuple[_Kind, Any]:
        try:
            if time_limit is not None and not self._connection.poll(max(0.0, time_limit)):
                raise WorkerTimeoutError("a worker process took too long and was ended")
            kind, value = self._connection.recv()
        except (EOFError, OSError):
            process = self._process
            self.close()
            code = None if process is None else process.returncode
            raise WorkerDiedError(f"a worker process ended by itself ({_say(code)})") from None
        except BaseException:
            # Such as Ctrl-C and the time limit: an answer that comes later would be taken for that of the next call.
            self.close()
            raise
        if kind == "error":
            raise value
        return kind, value


class Team:
    """Workers that do one job each at a time, started at once.

    Args:
        workers: How many.
        memory: See `Worker`.
        imports: See `Worker`.

    Raises:
        KrespError: If they cannot be started.
    """

    def __init__(self, workers: int, *, memory: int | None = None, imports: Sequence[str] = ()) -> None:
        self._team: list[Worker] = []
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        # Each thread waits for one process.
        self._threads = ThreadPoolExecutor(max(1, workers))
        try:
            for _ in range(workers):
                self._team.append(Worker(memory=memory, imports=imports))
                self._idle.put(self._team[-1])
        except KrespError:
            self.__exit__()
            raise

    def each(self, work: Callable[[Worker, Item], T], items: Iterable[Item]) -> Iterator[T]:
        """Do something with each item and a worker, and yield what comes of it, in the order of the items.

        Several threads may call it at once.

        Args:
            work: Called in threads of this process.
            items: What it takes. They are read two for each worker ahead.

        Raises:
            Exception: Whatever `work` raises.
        """
        queue = iter(items)
        under_way: deque[Future[T]] = deque()
        while True:
            # Twice the workers: none waits for work, and little is held in memory.
            for item in itertools.islice(queue, 2 * len(self._team) - len(under_way)):
                under_way.append(self._threads.submit(self._lend, work, item))
            if not under_way:
                return
            yield under_way.popleft().result()

    def _lend(self, work: Callable[[Worker, Item], T], item: Item) -> T:
        worker = self._idle.get()
        try:
            return work(worker, item)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """Kill the workers."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._team:
            worker.end()
        self._threads.shutdown()
        for worker in self._team:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _say(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def serve(connection: Connection) -> None:
    """What a worker does until it is killed, or the process that started it has ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    memory: int | None = connection.recv()
    imports: Sequence[str] = connection.recv()
    if memory is not None:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = memory if most == resource.RLIM_INFINITY else min(memory, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
    for name in imports:
        importlib.import_module(name)
    connection.send(("ready", None))
    while True:
        try:
            function, arguments, streams = connection.recv()
        except EOFError:
            return
        except Exception as error:  # what unpickling raises: the function's module may not be importable here
            connection.send(("error", _picklable(error)))
            continue
        try:
            result = function(*arguments)
            if streams:
                for item in result:
                    connection.send(("item", item))
                result = None
            connection.send(("result", result))
        except Exception as error:  # raised again in the main process
            connection.send(("error", _picklable(error)))


def _picklable(error: Exception) -> Exception:
    """The error with its traceback as a note; a `RuntimeError` that says the same if it cannot be pickled."""
    error.add_note("In a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # pickling calls the error's own code, which may raise anything
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, however that ended: it holds the other end of stdin."""
    while os.read(0, 1):
        pass
    os._exit(1)

"""Training clips that other hosts read, decode and augment, by the `tf.data` service.

this process      numbers of an epoch's clips ──▶ dispatcher
workers           take a number each ──▶ its clip ──▶ this process, which puts the clips in order again

The service gives each number to one worker, loses those of a worker that ends, and waits an hour for it. So clips are
counted here: when no more come, those that are missing are asked for again.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import tensorflow as tf
from tensorflow.python.eager.cancellation import CancellationManager, CancellationManagerContext

from kresp3d.config.schema import DataConfig
from kresp3d.records.pipeline import ClipOf, ClipService
from kresp3d.system.address import Address
from kresp3d.system.ending import end_at_once
from kresp3d.system.errors import KrespError, sentence_in
from kresp3d.system.stores import s3_environment

#: Begins an address in the configuration.
SCHEME = "grpc://"
#: Clips that may wait for an earlier one. What is missing then comes when it comes.
AHEAD = 64
#: Seconds without a clip after which the missing ones are asked for again; twice as many the next time, and so on.
STALL = 5.0
#: Seconds without a clip after which there are no workers.
PATIENCE = 120.0
#: Seconds between two times that the service is asked for clips, at the least.
PAUSE = 1.0
#: Clips that are fetched ahead.
_FETCHED = 16

_Clip = tuple[Any, Any]


def clip_service(config: DataConfig) -> ClipService | None:
    """The service that `data.service` names; `None` where it names none."""
    return None if config.service is None else partial(served_clips, config.service)


def served_clips(
    service: str,
    clip: ClipOf,
    shape: tuple[int, ...],
    first: int,
    in_epoch: int,
    explained: Callable[[], AbstractContextManager[None]],
) -> tf.data.Dataset:
    """The clips of the numbers from `first` on, without end, computed by workers.

    They come in order, unless `AHEAD` others overtake one; each epoch has the clips that it has without a service.

    Args:
        service: `grpc://HOST:PORT` of the dispatcher.
        clip: See `kresp3d.records.pipeline.ClipService`, as for all that follows.
        shape: Of a clip.
        first: Number of the first clip.
        in_epoch: Clips in an epoch.
        explained: Puts an error of reading into words.

    Returns:
        A dataset of `({"frames": uint8 shape}, int32)`. Errors come out of it as TensorFlow's; see `service_errors`.

    Raises:
        KrespError: If the dispatcher cannot be reached.
    """
    address = Address.parse(service.removeprefix(SCHEME), "data.service")
    _check(address)
    # A dispatcher that is lost while a dataset is handed to it is waited for.
    end_at_once()

    def generate() -> Iterator[_Clip]:
        begin = first
        while True:
            with explained():
                yield from _epoch(clip, address, begin, in_epoch)
            begin += in_epoch

    signature = (tf.TensorSpec(shape, tf.uint8), tf.TensorSpec([], tf.int32))
    found = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return found.map(lambda frames, label: ({"frames": frames}, label))


@contextmanager
def service_errors() -> Iterator[None]:
    """Raise the sentence of a `KrespError` that came through `served_clips`."""
    try:
        yield
    except tf.errors.UnknownError as error:
        sentence = sentence_in(error.message)
        if sentence is None:
            raise
        raise KrespError(sentence) from error


def _check(address: Address) -> None:
    reason = address.unreachable()
    if reason is not None:
        raise KrespError(
            f"data.service: nobody answers at {address} ({reason}); start `kresp3d data serve` there, and workers by "
            f"`kresp3d data serve --dispatcher {address}`. What was finished is kept, for resume=True (--resume)"
        )


def _epoch(clip: ClipOf, address: Address, first: int, count: int) -> Iterator[_Clip]:
    missing = set(range(first, first + count))
    early: dict[int, _Clip] = {}
    expected = first
    stall, waited = STALL, 0.0
    source = _Source(clip, address, sorted(missing))
    try:
        while missing or early:
            if expected in early:
                yield early.pop(expected)
                expected += 1
                continue
            if early and (len(early) >= AHEAD or not missing):
                expected = min(early)
                continue
            began = time.monotonic()
            item = source.take(min(stall, PATIENCE - waited))
            if item is None:
                # At least so long, where the service ends what it was asked for at once.
                time.sleep(max(0.0, PAUSE - (time.monotonic() - began)))
                waited += time.monotonic() - began
                _check(address)
                if waited >= PATIENCE:
                    raise KrespError(
                        f"data.service: no worker of {address} has sent a clip for {PATIENCE:.0f} seconds; start some "
                        f"by `kresp3d data serve --dispatcher {address}`"
                    )
                source.close()
                source = _Source(clip, address, sorted(missing))
                stall *= 2
            else:
                number, found = item
                stall, waited = STALL, 0.0
                missing.remove(number)
                if number < expected:
                    yield found
                else:
                    early[number] = found
    finally:
        source.close()


class _Source:
    """Fetches clips in a thread, since whoever waits for the service waits for ever."""

    def __init__(self, clip: ClipOf, address: Address, numbers: list[int]) -> None:
        self._items: queue.Queue[tuple[int, _Clip] | Exception | None] = queue.Queue(_FETCHED)
        self._cancelling = CancellationManager()
        self._closed = False
        threading.Thread(target=self._run, args=(clip, address, numbers), daemon=True).start()

    def take(self, seconds: float) -> tuple[int, _Clip] | None:
        """A clip and its number; `None` if none comes in time, or none any more.

        Raises:
            Exception: What fetching raises.
        """
        try:
            item = self._items.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._cancelling.start_cancel()

    def _run(self, clip: ClipOf, address: Address, numbers: list[int]) -> None:
        def numbered(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            inputs, label = clip(number)
            return number, inputs["frames"], label

        try:
            plain = tf.autograph.experimental.do_not_convert(numbered)
            dataset = tf.data.Dataset.from_tensor_slices(tf.constant(numbers, tf.int64))
            dataset = dataset.map(plain, num_parallel_calls=tf.data.AUTOTUNE)
            served = dataset.apply(
                tf.data.experimental.service.distribute(
                    processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC, service=f"{SCHEME}{address}"
                )
            )
            iterator = iter(served)
            # Only a function can be cancelled.
            get = tf.function(lambda: iterator.get_next(), autograph=False)
            with CancellationManagerContext(self._cancelling):
                for _ in numbers:
                    number, frames, label = get()
                    self._put((int(number), (frames.numpy(), label.numpy())))
                    if self._closed:
                        return
        except tf.errors.OutOfRangeError:
            # Early, as where a worker comes back under the address of one that was lost.
            self._put(None)
        except Exception as error:  # raised again where the clips are taken
            self._put(error)

    def _put(self, item: tuple[int, _Clip] | Exception | None) -> None:
        while not self._closed:
            try:
                self._items.put(item, timeout=0.2)
                return
            except queue.Full:
                continue


def serve(port: int, dispatcher: Address | None, host: str | None, say: Callable[[str], None]) -> None:
    """Be a dispatcher, or a worker of one, until this process is ended.

    Args:
        port: Where to listen; for a worker, 0 for any.
        dispatcher: Whose worker this is; `None` to be one.
        host: By which name or number others reach a worker; by default the one towards the dispatcher.
        say: Called with a line for a person.

    Raises:
        KrespError: If the dispatcher cannot be reached, or the port is taken.
    """
    service = tf.data.experimental.service
    if importlib.util.find_spec("tensorflow_io") is not None:
        # For records in object stores.
        s3_environment(os.environ)
        import tensorflow_io  # noqa: F401
    try:
        if dispatcher is None:
            server = service.DispatchServer(service.DispatcherConfig(port=port))
            name = f"{socket.gethostname()}:{port}"
            say(
                f"Dispatching at port {port}. Start workers by `kresp3d data serve --dispatcher {name}`, and train "
                f"with --set data.service={SCHEME}{name}"
            )
        else:
            reason = dispatcher.unreachable()
            if reason is not None:
                raise KrespError(f"--dispatcher: nobody answers at {dispatcher} ({reason}); start it first")
            host = host or _own_host(dispatcher)
            server = service.WorkerServer(
                service.WorkerConfig(
                    dispatcher_address=str(dispatcher),
                    worker_address=f"{host}:{port or '%port%'}",
                    port=port,
                    dispatcher_timeout_ms=20_000,
                )
            )
            say(f"Working for {dispatcher}, as {host}")
    except tf.errors.OpError as error:
        raise KrespError(f"port {port} cannot be listened at ({' '.join(error.message.split())[:200]})") from error
    # It cannot be joined, since Python is told of no signal meanwhile.
    end_at_once()
    assert server is not None
    while True:
        time.sleep(3600)


def _own_host(dispatcher: Address) -> str:
    """The number by which this host is seen by another one."""
    with socket.create_connection((dispatcher.host, dispatcher.port)) as connection:
        own: str = connection.getsockname()[0]
    return f"[{own}]" if ":" in own else own

"""A folder in an object store that one process holds.

Nothing there tells of a process's end. So the holder writes its name into an object and renews it again and again; when
that has stopped for a while, the holder is gone. Two that come in the same moment may both get in: the file systems of
TensorFlow have no write that fails if another one was first.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kresp3d.system.errors import KrespError
from kresp3d.system.storage import RemotePath

#: Seconds between two renewals.
RENEWAL = 15.0
#: Seconds without renewal after which a holder of another host is taken for gone; clocks may differ by some.
EXPIRY = 60.0
#: Seconds in which a holder that lives has renewed its lock, and a write that was begun has ended.
SETTLING = RENEWAL + 5.0
#: Seconds between two looks at a lock that is being written.
PAUSE = 0.2

logger = logging.getLogger("kresp3d")


@contextmanager
def remote_lock(file: RemotePath, doing: str) -> Iterator[None]:
    """Hold a folder.

    Args:
        file: The object that says so.
        doing: What another process would be doing, and what to do about it, for the message.

    Raises:
        KrespError: If another process holds it.
    """
    found = _read(file)
    if found is not None and _lives(file, found):
        age = max(0.0, time.time() - found["renewed"])
        raise KrespError(
            f"another process is {doing} (process {found['process']} on {found['host']} was there {age:.0f} seconds "
            f"ago; one that was killed is taken for gone after {EXPIRY:.0f})"
        )
    own = {
        "id": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "machine": _machine(),
        "process": os.getpid(),
        "began": _began(os.getpid()),
    }
    ended = threading.Event()

    def renew() -> None:
        file.write_text(json.dumps({**own, "renewed": time.time()}) + "\n")

    def keep() -> None:
        while not ended.wait(RENEWAL):
            try:
                other = _read(file)
                if other is not None and other["id"] != own["id"]:
                    # This process stood still, or could not reach the store, for so long that it was taken for gone.
                    holder = f"process {other['process']} on {other['host']}"
                    logger.error("%s was taken over by %s: end one of the two", file.parent, holder)
                    return
                renew()
            except OSError as error:
                # The work says by itself whether the store is gone for good.
                logger.debug("%s could not be renewed: %s", file, error)

    renew()
    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        try:
            found = _read(file)
            if found is not None and found["id"] == own["id"]:
                file.unlink(missing_ok=True)
        except OSError as error:
            logger.debug("%s could not be deleted: %s", file, error)


def _read(file: RemotePath) -> dict[str, Any] | None:
    """Read who holds the folder; `None` where nobody does.

    Not every store replaces an object at once: on HDFS it is empty first, while it is renewed. So one that cannot be
    read counts as held until the writing must have ended.
    """
    deadline = time.monotonic() + SETTLING
    while True:
        try:
            values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            float(values["renewed"]), [values[key] for key in ("id", "host", "machine", "process", "began")]
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError):
            if time.monotonic() > deadline:
                return None
        else:
            return values
        time.sleep(PAUSE)


def _lives(file: RemotePath, holder: dict[str, Any]) -> bool:
    if holder["machine"] is not None and holder["machine"] == _machine():
        # Its number may have gone to another process since.
        return holder["began"] is not None and holder["began"] == _began(holder["process"])
    if time.time() - float(holder["renewed"]) < EXPIRY:
        return True
    # The clocks of the two hosts may differ.
    time.sleep(SETTLING)
    found = _read(file)
    return found is not None and found["renewed"] != holder["renewed"]


def _machine() -> str | None:
    """This start of this machine, and the space that numbers of processes are from; host names may be given twice."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{started} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _began(process: int) -> int | None:
    """When a process of this host began, in the kernel's ticks since the start; `None` where there is none."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    # The name, in parentheses, may hold anything.
    return int(text.rpartition(")")[2].split()[19])

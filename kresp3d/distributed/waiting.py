"""A process that says which workers another one waits for, and ends it when that takes too long.

    python -I -S waiting.py PID NAME INTERVAL PATIENCE HOST:PORT …

TensorFlow waits for the workers of a cluster without a word, and lets no other thread of Python run meanwhile. Only
Python's own library is used, so that this takes no time and memory to begin.
"""

import os
import signal
import socket
import sys
import time


def unreachable(address: str) -> str | None:
    """Why there is no answer at `host:port`; `None` if there is one."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def watch(parent: int, name: str, interval: float, patience: float, addresses: list[str]) -> None:
    """Say every so often who is missing, until this process is ended or its parent is gone."""
    begin = time.monotonic()
    while os.getppid() == parent:
        time.sleep(interval)
        missing = [f"{each} ({reason})" for each in addresses if (reason := unreachable(each)) is not None]
        if not missing or os.getppid() != parent:
            continue
        if time.monotonic() - begin < patience:
            print(f"WARNING: {name} waits for {', '.join(missing)}", file=sys.stderr, flush=True)
            continue
        print(
            f"Error: {name} waited {patience / 60:g} minutes for {', '.join(missing)}; start the same command on all "
            "hosts, and open the ports between them",
            file=sys.stderr,
            flush=True,
        )
        # TensorFlow takes SIGTERM for itself.
        os.kill(parent, signal.SIGKILL)
        return


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), sys.argv[5:])

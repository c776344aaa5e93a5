"""A training in a process of its own: `python -m kresp3d.cli.child train …`, for which see `kresp3d train`.

It ends when the process that started it does, even by `kill -9`: that one holds the other end of standard input.
"""

from __future__ import annotations

import os
import threading

from kresp3d.cli.main import run


def end_with_parent() -> None:
    """Wait for the end of standard input, then end this process at once."""
    # os.read, since a thread that waits in sys.stdin keeps Python from ending.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    run()

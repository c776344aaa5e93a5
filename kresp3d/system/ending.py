"""How this process ends."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn

_at_once = False


def end_at_once() -> None:
    """Have `end` end the process without waiting for threads of libraries, which would hold it up or abort it."""
    global _at_once
    _at_once = True


def end(code: int) -> NoReturn:
    """End the process with an exit code; what was registered with `atexit` is done before."""
    if _at_once:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            # Whoever reads it may be gone.
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)

"""A sentence for the case that a process cannot speak for itself any more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Waits until its standard input ends. A process that dies closes it without a word.
_WAIT = "import sys; sys.stdin.read() or print(sys.argv[1], file=sys.stderr)"


@contextmanager
def last_words(sentence: str) -> Iterator[None]:
    """Have a sentence printed to standard error if this process is killed within the block, or aborts.

    A process that runs out of memory is killed by the system, or aborted by a library, and can say nothing then. A
    second, small one waits for that.

    Args:
        sentence: What to print.
    """
    witness = subprocess.Popen(
        # Without the site's packages, which take time and memory to find.
        [sys.executable, "-I", "-S", "-c", _WAIT, sentence],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # Ctrl-C goes to all processes of a terminal's session.
        start_new_session=True,
    )
    try:
        yield
    finally:
        # It may have been killed itself.
        with suppress(BrokenPipeError):
            witness.communicate(b"alive")

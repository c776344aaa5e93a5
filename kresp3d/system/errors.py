"""Errors that a person can act on.

Every error raised for a user's mistake is a `KrespError`: one sentence that says
what was expected, what was received, where, and what to do. The command line prints it without a traceback.
"""

import re

from kresp3d.system.text import printable


class KrespError(Exception):
    """Something the user can put right. The command line exits with `exit_code`."""

    exit_code = 1


class UsageError(KrespError):
    """A command, option or configuration key that cannot be taken as given."""

    exit_code = 2


class VideoError(KrespError):
    """A video that cannot be decoded.

    Args:
        path: The video.
        reason: Why, in a few words, without the path.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{printable(path)}: {printable(reason)}")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["VideoError"], tuple[str, str]]:
        # The default would call __init__ with the joined message only; worker processes pickle this error.
        return type(self), (self.path, self.reason)


def sentence_in(text: str) -> str | None:
    """The sentence of a `KrespError` in text such as a traceback from another process; `None` if there is none."""
    found = re.search(r"^(?:[\w.]*\.)?(?:KrespError|UsageError): (.*)$", text, re.MULTILINE)
    return found[1] if found else None

"""The terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def plain_console(*, soft_wrap: bool = False, stderr: bool = False) -> Console:
    """Return a terminal that shows text as it is: names of files may have brackets and colons, which rich would read.

    Args:
        soft_wrap: Whether long lines are left to the terminal, so that they can be copied whole.
        stderr: Whether it is standard error.
    """
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, soft_wrap=soft_wrap, stderr=stderr)

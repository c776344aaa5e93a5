"""Checks of what programs give to the functions of `kresp3d`; the command line has checks of its own."""

from __future__ import annotations

import math
import numbers
import os
from typing import Any

from kresp3d.system.errors import UsageError


def whole_number(name: str, value: Any, most: int | None = None) -> int:
    """Return an argument as an `int` of at least 1.

    Args:
        name: Of the argument.
        value: What was given; a NumPy integer will do, a float or a truth value will not.
        most: The largest value that is accepted.

    Raises:
        UsageError: If it is something else.
    """
    # NumPy's integers are of this kind, and its truth values are not.
    number = int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else 0
    if number < 1 or (most is not None and number > most):
        limits = "of at least 1" if most is None else f"from 1 to {most}"
        raise UsageError(f"{name} must be a whole number {limits}, received {shown(value)}")
    return number


def real_number(value: Any) -> float | None:
    """Return a finite number as a `float`, such as one of NumPy or a `Fraction`; `None` for anything else."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def is_path(value: Any) -> bool:
    """Whether a value is text, or a path that text can be made of; bytes are none."""
    return isinstance(value, str) or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str))


def check_path(value: Any, what: str) -> None:
    """Make sure that an argument is a path.

    Args:
        value: What was given.
        what: What is expected, such as `the path of a video`.

    Raises:
        UsageError: If it is no path.
    """
    if not is_path(value):
        raise UsageError(f"expected {what}, received {shown(value)}")


def shown(value: Any) -> str:
    """Return a value as it is shown in a message: numbers and short text themselves, of anything else the type."""
    if value is None or isinstance(value, str | bytes | bool | int | float):
        text = repr(value)
        return text if len(text) <= 80 else f"{text[:80]}…"
    return type(value).__name__

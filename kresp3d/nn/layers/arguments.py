"""Checks of the numbers that layers and networks are made with."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any


def whole_number(owner: str, name: str, value: Any, least: int = 1) -> int:
    """Return an argument as an `int`.

    Args:
        owner: Whose argument it is, for the message.
        name: Of the argument.
        value: What was given; a NumPy integer will do, a float will not.
        least: The smallest value that is accepted.

    Raises:
        ValueError: If it is no whole number, or below `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{owner}: {name} must be a whole number of at least {least}, received {value!r}")
    return number


def whole_numbers(owner: str, name: str, values: Any) -> tuple[int, ...]:
    """Return an argument as a tuple of at least one `int`, each at least 1.

    Args:
        owner: Whose argument it is, for the message.
        name: Of the argument.
        values: What was given: a list, a tuple or an array.

    Raises:
        ValueError: If it is something else.
    """
    is_row = isinstance(values, Sequence) or getattr(values, "ndim", 0) == 1
    if not is_row or isinstance(values, str) or not len(values):
        raise ValueError(f"{owner}: {name} must be whole numbers, such as (1, 3), received {values!r}")
    return tuple(whole_number(owner, f"each of {name}", value) for value in values)

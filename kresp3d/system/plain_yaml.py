"""YAML from strangers: plain values alone, and no more of them than a configuration has."""

from __future__ import annotations

from typing import Any

import yaml

#: Values in a file at most; `configs/base.yaml` has 200.
VALUES = 20_000


def parse_yaml(text: str, loader: type[yaml.BaseLoader] | type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """Read YAML as plain values.

    Raises:
        yaml.YAMLError: If it is none.
        ValueError: If it has a number or a date that is none, lists in lists without end, or more values than any
            configuration: a few aliases of aliases stand for thousands of millions.
    """
    try:
        values = yaml.load(text, loader)
        if _size(values, {}) > VALUES:
            raise ValueError(f"more than {VALUES:,} values")
    except RecursionError:
        raise ValueError("too many values inside one another") from None
    # What PyYAML makes of `!!timestamp x`, `!!bool x` and `!!int ''`.
    except (AttributeError, LookupError, TypeError):
        raise ValueError("a value is not of the type that its tag says") from None
    return values


def _size(values: Any, known: dict[int, int]) -> int:
    """The number of values with all that is inside, what is there twice counted twice."""
    if not isinstance(values, list | dict):
        return 1
    if id(values) not in known:
        # Of what holds itself, the inner one counts for more than there may be.
        known[id(values)] = VALUES + 1
        inside = [*values.keys(), *values.values()] if isinstance(values, dict) else values
        known[id(values)] = 1 + sum(_size(value, known) for value in inside)
    return known[id(values)]

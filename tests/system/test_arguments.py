"""What programs give to the functions of kresp3d."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kresp3d.system.arguments import check_path, is_path, real_number, shown, whole_number
from kresp3d.system.errors import UsageError


class BytesPath:
    def __fspath__(self):
        return b"video.mp4"


@pytest.mark.parametrize("value", [1, 10, np.int64(10), np.uint8(3), 10**30])
def test_whole_numbers_are_returned_as_int(value):
    found = whole_number("clips", value)
    assert found == value and type(found) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, "3", None, True, np.True_, float("nan"), [3], Decimal(3)])
def test_what_is_no_whole_number_of_at_least_one_is_refused(value):
    with pytest.raises(UsageError, match=r"^clips must be a whole number of at least 1, received [^\n]+$"):
        whole_number("clips", value)


def test_a_largest_value_is_kept_to():
    assert whole_number("threads", 8, 8) == 8
    with pytest.raises(UsageError, match="threads must be a whole number from 1 to 8, received 9"):
        whole_number("threads", 9, 8)


def test_numbers_of_any_kind_become_floats_and_nothing_else_does():
    numbers = [25, 29.97, np.float32(0.5), np.int16(7), Fraction(30000, 1001)]
    assert [real_number(value) for value in numbers] == [25.0, 29.97, 0.5, 7.0, 30000 / 1001]
    others = ["25", b"25", Decimal(25), True, np.True_, None, 1j, float("nan"), float("inf"), 10**400, [25], np.ones(1)]
    assert [real_number(value) for value in others] == [None] * len(others)


def test_text_and_paths_are_paths_and_bytes_are_none():
    assert is_path("a") and is_path(Path("a"))
    for value in (b"a", BytesPath(), 5, None, ["a"], np.array("a")):
        assert not is_path(value)
        with pytest.raises(UsageError, match="expected the path of a video, received "):
            check_path(value, "the path of a video")


def test_values_are_shown_in_one_short_line():
    assert shown("x" * 1000) == "'" + "x" * 79 + "…"
    assert (shown(3.5), shown(None), shown([1] * 1000), shown(np.zeros(999))) == ("3.5", "None", "list", "ndarray")
    assert "\n" not in shown("a\nb")

from __future__ import annotations

import pytest

from kresp3d.system.text import clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (359999, "99:59:59"), (360000, "100 h")],
)
def test_a_time_is_minutes_then_hours(seconds, text):
    assert clock(seconds) == text

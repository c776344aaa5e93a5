"""Words for a person."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """`m:ss`, `h:mm:ss` from an hour on, hours alone from 100 on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 100:
        return f"{hours} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

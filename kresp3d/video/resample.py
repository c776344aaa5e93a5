"""Which decoded frame is seen when: pure arithmetic on times, in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

Frame = TypeVar("Frame")

#: A step in time beyond this many seconds, back or forth, is taken for a fault of the file and is closed.
MAX_STEP = 10.0
#: Seconds by which a frame may be late and still be on time: Matroska, WebM and FLV round to milliseconds.
LATE = 0.0011


def resample(frames: Iterable[tuple[float, Frame]], fps: float) -> Iterator[Frame]:
    """Hold each frame until the next is due.

    Output `k` is the last frame whose time is at most `k / fps` (`LATE` is forgiven). The output ends where the last
    frame begins, so one frame gives one frame.

    Args:
        frames: Pairs of a time and a frame; the first time is 0, and times increase.
        fps: Outputs per second.
    """
    count = 0
    held: tuple[float, Frame] | None = None
    for time, frame in frames:
        while held is not None and count / fps < time - LATE:
            yield held[1]
            count += 1
        held = time, frame
    while held is not None and count / fps <= held[0] + LATE:
        yield held[1]
        count += 1


def timeline(frames: Iterable[tuple[float | None, Frame]], period: float) -> Iterator[tuple[float, Frame]]:
    """Put frames, in order of display, on one increasing line of time that begins at 0.

    A frame without a time, or with one that does not increase, follows its predecessor after one `period`: AVI files
    with B-frames, such as some of UCF101, count 1, 2, 4, 3, 5, 7, 6. A step beyond `MAX_STEP` is closed to one
    `period`.

    Args:
        frames: Pairs of a time, or `None`, and a frame.
        period: Time from one frame to the next, as far as known.

    Yields:
        Pairs of a time and a frame.
    """
    last: float | None = None
    offset = 0.0
    for stamp, frame in frames:
        if last is None:
            time = 0.0
            offset = 0.0 if stamp is None else -stamp
        elif stamp is None:
            time = last + period
        else:
            time = stamp + offset
            if abs(time - last) > MAX_STEP:
                time = last + period
                offset = time - stamp
            elif time <= last:
                time = last + period
        last = time
        yield time, frame

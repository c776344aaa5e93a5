"""Frames of any video and their residual frames, as in the paper's Fig. 1; no network is needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kresp3d.evaluation.figures import INK, bright_residual, labelled_sheet, residual_label, save, shorten
from kresp3d.explain.moving_figure import MovingFigure
from kresp3d.system.text import printable
from kresp3d.video.decode import iter_frames
from kresp3d.video.workers import Decode, Progress, decode_here
from kresp3d.video.write import video_file

Image = npt.NDArray[np.uint8]

#: Pixels of a row of panels in a video, at most.
_WIDEST = 1920


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame and those that its residual frames are taken with."""

    index: int
    frame: Image
    later: tuple[Image, ...]
    """The frame `s` later for each step `s`."""


def moments(frames: Iterable[Image], steps: Sequence[int]) -> Iterator[Moment]:
    """Pair frames with later ones; at most as many frames are held as the largest step has.

    The last frames have no later ones and are left out, unless the whole video is that short: then it is looped, as
    clips are.

    Args:
        frames: uint8 `[H, W, 3]` in time.
        steps: Step sizes `s`, each at least 1.
    """
    reach = max(steps)
    held: deque[Image] = deque(maxlen=reach + 1)
    index = 0
    for count, frame in enumerate(frames, 1):
        held.append(frame)
        if count > reach:
            yield Moment(index, held[0], tuple(held[step] for step in steps))
            index += 1
    if not index:
        for index, frame in enumerate(held):
            yield Moment(index, frame, tuple(held[(index + step) % len(held)] for step in steps))


def count_moments(frames: int, steps: Sequence[int]) -> int:
    """How many `moments` a video of so many frames has."""
    return frames - max(steps) if frames > max(steps) else frames


def count_frames(path: Path, fps: float, decode: Decode = decode_here) -> int:
    """Frames of a video at a rate, by decoding it wholly.

    Raises:
        VideoError: If it cannot be decoded.
    """
    # Frames of a few pixels take no time to convert.
    return sum(1 for _ in decode(partial(iter_frames, fps=fps, short_side=8), path))


def write_residual(
    video: Path,
    out: Path,
    steps: Sequence[int],
    *,
    fps: float,
    short_side: int,
    columns: int,
    brighten: float,
    progress: Progress,
    decode: Decode = decode_here,
) -> None:
    """Show a video's frames and its residual frames `|x[t+s] - x[t]|`: as a sheet, or as a video.

    Args:
        video: Any video.
        out: A `.png` for the sheet or an `.mp4` for the video; what is there is replaced.
        steps: Step sizes `s`: a row each in a sheet, a panel each in a video.
        fps: Frames a second that are taken of the video.
        short_side: Of the frames in pixels, at most.
        columns: Frames in a sheet, evenly spread over the video.
        brighten: Factor on the residual frames, which are dark in real videos.
        progress: Called with the number of frames done and of all.
        decode: Where the video is decoded: by default in this process; a `DecoderProcess` for files of strangers.

    Raises:
        VideoError: If the video cannot be decoded.
    """
    total = count_moments(count_frames(video, fps, decode), steps)
    walk = moments(decode(partial(iter_frames, fps=fps, short_side=short_side), video), steps)
    if out.suffix.lower() == ".png":
        chosen = set(np.rint(np.linspace(0, total - 1, min(columns, total))).astype(int).tolist())
        save(_sheet(video, _watched(walk, total, progress, chosen), steps, fps, brighten), out)
        return
    panels: _Panels | None = None
    with video_file(out, fps) as add:
        for moment in _watched(walk, total, progress):
            panels = panels or _Panels(video, moment.frame.shape[:2], steps, brighten, fps, total)
            add(panels.picture(moment))


def _watched(
    walk: Iterable[Moment], total: int, progress: Progress, chosen: set[int] | None = None
) -> Iterator[Moment]:
    for moment in walk:
        if chosen is None or moment.index in chosen:
            yield moment
        progress(moment.index + 1, total)


def _sheet(video: Path, shown: Iterable[Moment], steps: Sequence[int], fps: float, brighten: float) -> Figure:
    columns = list(shown)
    rows = [
        [moment.frame for moment in columns],
        *([bright_residual(moment.frame, moment.later[i], brighten) for moment in columns] for i in range(len(steps))),
    ]
    labels = ["RGB\n$x_t$", *(residual_label(step, brighten) for step in steps)]
    times = [f"{moment.index / fps:.2f} s" for moment in columns]
    return labelled_sheet(rows, labels, times, title=f"{shorten(printable(video.name), 60)}, {fps:g} frames a second")


class _Panels:
    """RGB and residual frames side by side, with a name above each and the time above all."""

    def __init__(
        self,
        video: Path,
        size: tuple[int, int],
        steps: Sequence[int],
        brighten: float,
        fps: float,
        frames: int,
    ) -> None:
        height, width = size
        count, gap, top, dpi = 1 + len(steps), 8, 58, 100
        # Two panels of a very small video would have no room for their names.
        scale = min(max(1.0, 320 / width), (_WIDEST - gap) / count / (width + gap))
        width, height = round(width * scale), round(height * scale)
        across = (count * (width + gap) + gap) // 2 * 2
        down = (height + top + gap) // 2 * 2
        figure = Figure(figsize=(across / dpi, down / dpi), dpi=dpi, facecolor="white")
        names = ["RGB $x_t$", *(f"$|x_{{t+{step}}} - x_t|$ × {brighten:g}" for step in steps)]
        blank = np.zeros((*size, 3), np.uint8)
        self._images = []
        for panel, name in enumerate(names):
            left = gap + panel * (width + gap)
            axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
            axes.set_axis_off()
            axes.set_title(name, fontsize=10, color=INK, pad=4)
            self._images.append(axes.imshow(blank, aspect="auto", interpolation="bilinear"))
        longest = max(8, (across - 130) // 8)
        figure.text(
            gap / across,
            1 - 8 / down,
            shorten(printable(video.name), longest),
            va="top",
            fontsize=10,
            color=INK,
            parse_math=False,
        )
        self._time = figure.text(1 - gap / across, 1 - 8 / down, "", ha="right", va="top", fontsize=10, color=INK)
        self._moving = MovingFigure(figure, [*self._images, self._time])
        self._fps, self._brighten, self._last = fps, brighten, (frames - 1) / fps

    def picture(self, moment: Moment) -> Image:
        """The panels at one time."""
        first, *others = self._images
        first.set_data(moment.frame)
        for image, later in zip(others, moment.later, strict=True):
            image.set_data(bright_residual(moment.frame, later, self._brighten))
        self._time.set_text(f"{moment.index / self._fps:.2f} of {self._last:.2f} s")
        return self._moving.picture()

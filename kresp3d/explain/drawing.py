"""An explanation as a sheet of pictures, and as a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kresp3d.clips.crops import centre_box
from kresp3d.evaluation.figures import FAINT, INK, draw_sheet, percent, residual_label, save, shorten
from kresp3d.explain.explanation import Explainer, Watched, find_label, pooled
from kresp3d.explain.moving_figure import MovingFigure
from kresp3d.explain.panels import (
    BRIGHTEN,
    AttentionPanel,
    draw_heat_scale,
    draw_scores,
    heated,
    residual_of,
    set_scores,
    shown_classes,
)
from kresp3d.explain.small_frames import small_video
from kresp3d.system.text import printable
from kresp3d.video.decode import iter_frames
from kresp3d.video.workers import Decode, decode_here
from kresp3d.video.write import video_file

Picture = npt.NDArray[np.uint8]

#: Side in pixels of the pictures in a video, and short side to which frames are decoded for looking at.
SIDE = 400
#: Columns of a sheet.
COLUMNS = 8


def explain_video(
    explainer: Explainer,
    path: Path,
    out: Path,
    *,
    class_name: str | None = None,
    clips: int | None = None,
    progress: Callable[[str, int, int], None],
    decode: Decode = decode_here,
) -> Watched:
    """Show what a network sees in a video.

    Args:
        explainer: The network.
        path: The video.
        out: A `.png` for a sheet or an `.mp4` for a video; what is there is replaced.
        class_name: The class whose evidence is looked for; `None`: the one predicted for the whole video.
        clips: See `Explainer.watch`.
        progress: Called with the part of the work ("Watching", "Drawing"), the number done and that of all.
        decode: Where the video is decoded: by default in this process; a `DecoderProcess` for files of strangers.

    Returns:
        The scores and the attention.

    Raises:
        UsageError: If the network has no such class.
        VideoError: If the video cannot be decoded.
    """
    chosen = None if class_name is None else find_label(explainer.engine.info.labels, class_name)
    with small_video(path, explainer.engine.info.clip, decode) as video:
        watched = explainer.watch(video, clips, lambda done, total: progress("Watching", done, total))
        label = int(np.argmax(watched.mean)) if chosen is None else chosen
        scenes = _Scenes(explainer, path, video, watched, label, decode)
        if out.suffix.lower() == ".png":
            _write_sheet(scenes, out, progress)
        else:
            _write_video(scenes, out, progress)
    return watched


class _Scenes:
    """The three pictures at each time that is shown."""

    def __init__(
        self, explainer: Explainer, path: Path, video: Picture, watched: Watched, label: int, decode: Decode
    ) -> None:
        self.explainer, self.path, self.video, self.watched, self.label = explainer, path, video, watched, label
        self.decode = decode
        self.modality = explainer.model.modality
        self.full3d = explainer.model.variant == "full3d"
        self.name = shorten(watched.labels[label], 24)

    @property
    def title(self) -> str:
        """The video and what it was taken for."""
        watched = self.watched
        best = int(np.argmax(watched.mean))
        clips = "1 clip" if len(watched.starts) == 1 else f"mean of {len(watched.starts)} clips"
        name = shorten(watched.labels[best], 24)
        return f"{shorten(printable(self.path.name), 44)}: {name}, {percent(watched.mean[best])} ({clips})"

    @property
    def source(self) -> str:
        """Where the heat is computed."""
        rows, columns = self.explainer.cam.cells
        return f"{self.explainer.cam.layer}, {rows}×{columns} cells"

    def walk(self, shown: list[int]) -> Iterator[tuple[int, Picture, Picture, Picture, bool]]:
        """Number, picture, residual and heat of each frame that is shown, and whether a clip holds the frame."""
        form = self.watched.form
        wanted = iter(self.explainer.heat(self.video, self.watched, self.label, shown))
        chosen = set(shown)
        # The frames are decoded once more, finer than the network sees them, rather than held.
        decoded = self.decode(partial(iter_frames, fps=form.fps, short_side=SIDE), self.path)
        for index, frame in enumerate(decoded):
            if index in chosen:
                heat = next(wanted)
                top, left, side = centre_box(*frame.shape[:2])
                square = frame[top : top + side, left : left + side]
                yield (
                    index,
                    square,
                    residual_of(self.video, self.watched, index),
                    heated(square, heat),
                    heat is not None,
                )


def _write_sheet(scenes: _Scenes, out: Path, progress: Callable[[str, int, int], None]) -> None:
    from PIL import Image

    watched = scenes.watched
    shown = np.unique(np.rint(np.linspace(0, watched.frames - 1, COLUMNS)).astype(int)).tolist()
    rows: tuple[list[Picture], ...] = ([], [], [])
    gaps = []
    for done, (_, *pictures, held) in enumerate(scenes.walk(shown), 1):
        for row, picture in zip(rows, pictures, strict=True):
            row.append(np.asarray(Image.fromarray(picture).resize((SIDE // 2, SIDE // 2), Image.Resampling.BICUBIC)))
        if not held:
            gaps.append(done - 1)
        progress("Drawing", done, len(shown))
    save(_sheet(scenes, rows, shown, gaps), out)


def _sheet(scenes: _Scenes, rows: tuple[list[Picture], ...], shown: list[int], gaps: list[int]) -> Figure:
    watched = scenes.watched
    figure = Figure(figsize=(1.3 * COLUMNS + 1.4, 7.0), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(4.3, 2.5), squeeze=False)[:, 0]
    axes = upper.add_subplot()
    labels = [
        "video" if scenes.modality != "residual" else "video\n(not used itself)",
        residual_label(watched.form.step, BRIGHTEN)
        if scenes.modality != "rgb"
        else f"residual × {BRIGHTEN:g}\n(not used)",
        f"Grad-CAM\nfor this class:\n{scenes.name}".replace("$", r"\$"),
    ]
    draw_sheet(axes, rows, labels, [f"{frame / watched.form.fps:.2f} s" for frame in shown])
    axes.set_title(scenes.title, fontsize=11, color=INK, parse_math=False)
    for column in gaps:
        x, y = ((place + 0.5) * (SIDE // 2 + 2) for place in (column, 2))
        axes.text(x, y, "no clip here", ha="center", va="center", fontsize=8, color="white")
    # As wide as two and a half pictures, however many there are.
    width = 2.5 / len(shown)
    draw_heat_scale(axes.inset_axes((1 - width, -0.045, width, 0.018)), scenes.source)
    left, right = lower.subplots(1, 2, width_ratios=(1.25, 1))
    draw_scores(left, watched, shown_classes(watched, scenes.label))
    for frame in shown:
        left.axvline(frame / watched.form.fps, color=FAINT, linewidth=0.8, zorder=0)
    AttentionPanel(right, pooled(watched.weights), full3d=scenes.full3d)
    return figure


def _write_video(scenes: _Scenes, out: Path, progress: Callable[[str, int, int], None]) -> None:
    watched = scenes.watched
    board = _Board(scenes)
    with video_file(out, watched.form.fps) as add:
        for index, square, residual, heat, held in scenes.walk(list(range(watched.frames))):
            add(board.picture(index, square, residual, heat, held))
            progress("Drawing", index + 1, watched.frames)


class _Board:
    """The panels of the video, 1280 × 720 pixels."""

    def __init__(self, scenes: _Scenes) -> None:
        self._watched = watched = scenes.watched
        figure = Figure(figsize=(12.8, 7.2), dpi=100, facecolor="white")
        figure.text(20 / 1280, 1 - 14 / 720, scenes.title, va="top", fontsize=13, color=INK, parse_math=False)
        self._time = figure.text(1260 / 1280, 1 - 14 / 720, "", va="top", ha="right", fontsize=13, color=INK)
        unused = "not used by this network"
        names = [
            "video" + (", itself " + unused if scenes.modality == "residual" else ", the square that is seen"),
            f"residual frames × {BRIGHTEN:g}"
            + (", " + unused if scenes.modality == "rgb" else ", as the network has them"),
            f"Grad-CAM for {scenes.name}",
        ]
        blank = np.zeros((2, 2, 3), np.uint8)
        self._images = []
        for panel, name in enumerate(names):
            axes = figure.add_axes(_box(20 + panel * 420, 72, SIDE, SIDE))
            axes.set_axis_off()
            axes.set_title(name, fontsize=10, color=INK, pad=5, parse_math=False)
            self._images.append(axes.imshow(blank, aspect="auto", interpolation="bilinear"))
        draw_heat_scale(figure.add_axes(_box(860, 478, SIDE, 8)), scenes.source)
        self._gap = figure.text(1060 / 1280, 1 - 272 / 720, "", ha="center", fontsize=12, color="white")

        left = figure.add_axes(_box(70, 548, 440, 122))
        self._classes = shown_classes(watched, scenes.label)
        self._values = draw_scores(left, watched, self._classes)
        self._cursor = left.axvline(0, color=INK, linewidth=1.2)
        right = figure.add_axes(_box(820, 548, 440, 122))
        self._attention = AttentionPanel(right, watched.weights[0], full3d=scenes.full3d)
        moving = [*self._images, self._gap, self._time, *self._values, self._cursor, *self._attention.moving]
        self._figure = MovingFigure(figure, moving)

    def picture(self, index: int, square: Picture, residual: Picture, heat: Picture, held: bool) -> Picture:
        """The panels at one frame."""
        watched = self._watched
        for image, data in zip(self._images, (square, residual, heat), strict=True):
            image.set_data(data)
        self._gap.set_text("" if held else "no clip holds this moment")
        now, clip = index / watched.form.fps, watched.nearest(index)
        self._time.set_text(f"{now:.2f} of {watched.seconds:.2f} s")
        self._cursor.set_xdata([now, now])
        set_scores(self._values, watched.scores[clip, self._classes])
        self._attention.show(watched.weights[clip])
        return self._figure.picture()


def _box(left: int, top: int, width: int, height: int) -> tuple[float, float, float, float]:
    """Pixels of the board, from its upper left corner, as matplotlib's shares of the figure."""
    return left / 1280, 1 - (top + height) / 720, width / 1280, height / 720

"""A figure in motion: drawn once, and for each picture only what changes is drawn over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class MovingFigure:
    """A figure of which some artists change from picture to picture.

    Args:
        figure: Its size in inches times its dots per inch should be even numbers.
        moving: The artists that will be changed, drawn in this order over the rest.
    """

    def __init__(self, figure: Figure, moving: Sequence[Artist]) -> None:
        self._figure, self._moving = figure, moving
        for artist in moving:
            artist.set_animated(True)
        # Matplotlib has no types for these methods.
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        self._canvas = canvas
        # A layout that is worked out anew might move what stays.
        figure.set_layout_engine("none")
        self._still = canvas.copy_from_bbox(figure.bbox)

    def picture(self) -> npt.NDArray[np.uint8]:
        """The figure as its artists are now: RGB, uint8 `[H, W, 3]`."""
        self._canvas.restore_region(self._still)
        for artist in self._moving:
            self._figure.draw_artist(artist)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

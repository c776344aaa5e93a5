"""What computes class scores from clips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kresp3d.runs.network_info import NetworkInfo
from kresp3d.system.errors import KrespError

Precision = Literal["float32", "bfloat16"]


class Engine(ABC):
    """A network that is ready to score clips, whatever runs it. Several threads may ask it at once.

    Attributes:
        info: What it takes and gives.
        batch_size: Clips that `probabilities` is best given at once.
    """

    def __init__(self, info: NetworkInfo, *, batch_size: int = 8) -> None:
        self.info = info
        self.batch_size = batch_size

    def probabilities(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Softmax scores of clips.

        Args:
            frames: uint8 `[B, T + s, S, S, 3]`, RGB; any `B` of at least 1.

        Returns:
            float32 `[B, classes]`.

        Raises:
            KrespError: If the frames are of another shape or dtype.
        """
        self.check(frames)
        return self._score(frames)

    def check(self, frames: npt.NDArray[Any]) -> None:
        """Make sure that `probabilities` takes an array.

        Raises:
            KrespError: If it is of another shape or dtype.
        """
        expected = self.info.clip.shape
        if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[1:] != expected or not len(frames):
            raise KrespError(
                f"{self.info.name} ({self.info.format}): expected clips uint8 [B, {', '.join(map(str, expected))}], "
                f"B at least 1, received {frames.dtype} {list(frames.shape)}"
            )

    @abstractmethod
    def _score(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """`probabilities`, of frames that are right."""

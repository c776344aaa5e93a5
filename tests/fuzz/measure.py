"""What worker processes of the tests run; they import it by its name."""

from __future__ import annotations

from pathlib import Path

from kresp3d.datasets.inspect import count_frames
from kresp3d.system.machine import peak_memory


def frames_and_memory(path: Path) -> tuple[int, int | None]:
    """Frames of a video at 15 a second, and the most bytes that this process has had."""
    return count_frames(path, 15, 96), peak_memory()

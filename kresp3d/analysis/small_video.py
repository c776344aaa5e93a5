"""A whole video as the network sees it, on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kresp3d.data.clip_format import ClipFormat
from kresp3d.data.decode import iter_frames
from kresp3d.data.video_clips import network_frames


@contextmanager
def small_video(path: Path, form: ClipFormat) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode a video to the network's frames, the same as `predict` has.

    They lie in a temporary file, so that a long video does not fill the memory: 12 kB a frame at a size of 64.

    Args:
        path: The video.
        form: How the network's clips are cut.

    Yields:
        uint8 `[N, S, S, 3]`, read from the file as it is used; there until the block ends.

    Raises:
        VideoError: If the video cannot be decoded.
    """
    with tempfile.TemporaryFile(prefix="kresp3d-") as file:
        count = 0
        for frame in network_frames(iter_frames(path, fps=form.fps, short_side=form.short_side), form.size):
            file.write(frame.tobytes())
            count += 1
        file.flush()
        yield np.memmap(file, np.uint8, "r", shape=(count, form.size, form.size, 3))

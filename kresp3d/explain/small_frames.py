"""A whole video as the network sees it, on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.records.video_clips import read_network_frames
from kresp3d.system.errors import VideoError
from kresp3d.video.workers import Decode, decode_here

#: Of the temporary file: two hours at a size of 112.
MAX_BYTES = 4 * 2**30


@contextmanager
def small_video(path: Path, form: ClipFormat, decode: Decode = decode_here) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode a video to the network's frames, the same as `predict` has.

    They lie in a temporary file, so that a long video does not fill the memory: 12 kB a frame at a size of 64.

    Args:
        path: The video.
        form: How the network's clips are cut.
        decode: Where the video is decoded.

    Yields:
        uint8 `[N, S, S, 3]`, read from the file as it is used; there until the block ends.

    Raises:
        VideoError: If the video cannot be decoded, or its frames take more than `MAX_BYTES`.
    """
    with tempfile.TemporaryFile(prefix="kresp3d-") as file:
        count = 0
        for frame in decode(partial(read_network_frames, clip=form), path):
            file.write(frame.tobytes())
            count += 1
            if count * frame.nbytes > MAX_BYTES:
                raise VideoError(path, f"longer than {count / form.fps:.0f} s; cut out the part to look at")
        file.flush()
        yield np.memmap(file, np.uint8, "r", shape=(count, form.size, form.size, 3))

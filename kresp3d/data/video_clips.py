"""Clips of a video that was just decoded, cut as evaluation cuts those of a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from kresp3d.data.augment import centre_box
from kresp3d.data.clip_format import ClipFormat
from kresp3d.data.resize import resize_array
from kresp3d.data.sampling import clip_indices, uniform_starts
from kresp3d.errors import KrespError


def video_clips(frames: Iterable[npt.NDArray[np.uint8]], clip: ClipFormat, *, clips: int) -> npt.NDArray[np.uint8]:
    """Cut decoded frames into clips as `kresp3d.data.pipeline.evaluation_dataset` cuts a record.

    The frames, the crop and the resizing are the same. Frames are cropped and resized as they come, so that only small
    ones are kept: 38 kB each at a size of 112.

    Args:
        frames: uint8 `[H, W, 3]` RGB frames in time, such as `kresp3d.data.decode.iter_frames` gives with the records'
            `fps` and `short_side`.
        clip: How clips are cut.
        clips: Number of clips.

    Returns:
        uint8 `[clips, T+s, S, S, 3]`.

    Raises:
        KrespError: If there is no frame, or one is not uint8 `[H, W, 3]`.
    """
    small = list(network_frames(frames, clip.size))
    if not small:
        raise KrespError("expected at least one frame to cut clips from, received none")
    starts = uniform_starts(len(small), clip.span, clips)
    return np.stack(small)[clip_indices(starts[:, None], clip.length, clip.frame_stride, len(small))]


def network_frames(frames: Iterable[npt.NDArray[np.uint8]], size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Crop and resize decoded frames as evaluation does, one by one.

    Args:
        frames: uint8 `[H, W, 3]`.
        size: Side `S` of the network's input in pixels.

    Yields:
        uint8 `[S, S, 3]`.

    Raises:
        KrespError: If a frame is not uint8 `[H, W, 3]`.
    """
    for index, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise KrespError(
                f"frame {index}: expected uint8 [height, width, 3], received {frame.dtype} {list(frame.shape)}"
            )
        top, left, side = centre_box(*frame.shape[:2])
        yield resize_array(frame[top : top + side, left : left + side], size)

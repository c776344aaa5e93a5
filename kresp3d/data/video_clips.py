"""Clips of a video that was just decoded, cut as evaluation cuts those of a record."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kresp3d.data.augment import centre_box
from kresp3d.data.clip_format import ClipFormat
from kresp3d.data.decode import iter_frames
from kresp3d.data.resize import resize_array
from kresp3d.data.sampling import clip_indices, uniform_starts
from kresp3d.data.workers import Decode, decode_here
from kresp3d.errors import KrespError, UsageError
from kresp3d.storage import local

#: Bytes of a video's frames, as the network sees them, that are held at most: half an hour at a size of 112.
HELD = 2**30


def read_clips(
    path: str | os.PathLike[str],
    clip: ClipFormat,
    *,
    clips: int = 10,
    decode: Decode = decode_here,
    held: int = HELD,
) -> npt.NDArray[np.uint8]:
    """Decode a video and cut clips as `video_clips` does, in memory that does not grow with the video's length.

    Example:
        >>> clips = kresp3d.read_clips("video.mp4", run.clip)
        >>> run.probabilities(clips).mean(axis=0)  # the scores of run.predict("video.mp4")

    Args:
        path: The video.
        clip: How clips are cut, such as `Run.clip`.
        clips: Number of clips, spread uniformly over the video.
        decode: Where the video is decoded: by default in this process, which a damaged file may crash.
        held: Bytes of frames to hold. A video that has more is decoded again when it is known which are needed.

    Returns:
        uint8 `[clips, T+s, S, S, 3]`.

    Raises:
        VideoError: If the video cannot be decoded.
        UsageError: If `clips` is below 1, or the path is in an object store.
    """
    if clips < 1:
        raise UsageError(f"clips must be at least 1, received {clips!r}")
    path = local(path)
    small: list[npt.NDArray[np.uint8]] = []
    count = 0
    for frame in decode(partial(read_network_frames, clip=clip), path):
        count += 1
        if count * frame.nbytes <= held:
            small.append(frame)
    indices = _indices(count, clip, clips)
    if len(small) == count:
        return np.stack(small)[indices]
    small.clear()
    only, places = np.unique(indices, return_inverse=True)
    read = partial(read_network_frames, clip=clip, only=frozenset(only.tolist()))
    return np.stack(list(decode(read, path)))[places.reshape(indices.shape)]


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
    return np.stack(small)[_indices(len(small), clip, clips)]


def _indices(frames: int, clip: ClipFormat, clips: int) -> npt.NDArray[np.int64]:
    """Frame of each place in each clip, `[clips, T+s]`."""
    starts = uniform_starts(frames, clip.span, clips)
    return clip_indices(starts[:, None], clip.length, clip.frame_stride, frames)


def read_network_frames(
    path: Path, clip: ClipFormat, only: Collection[int] | None = None
) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode a video to frames as the network sees them, uint8 `[S, S, 3]`; `only` those of the given numbers.

    Raises:
        VideoError: If the video cannot be decoded.
    """
    frames: Iterable[npt.NDArray[np.uint8]] = iter_frames(path, fps=clip.fps, short_side=clip.short_side)
    if only is not None:
        frames = (frame for number, frame in enumerate(frames) if number in only)
    return network_frames(frames, clip.size)


def network_frames(frames: Iterable[npt.NDArray[np.uint8]], size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Crop and resize decoded frames as evaluation does, one by one.

    Args:
        frames: uint8 `[H, W, 3]`. One that is the same array as the last, being held, gives the same again.
        size: Side `S` of the network's input in pixels.

    Yields:
        uint8 `[S, S, 3]`.

    Raises:
        KrespError: If a frame is not uint8 `[H, W, 3]`.
    """
    last = small = None
    for index, frame in enumerate(frames):
        if small is not None and frame is last:
            yield small
            continue
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise KrespError(
                f"frame {index}: expected uint8 [height, width, 3], received {frame.dtype} {list(frame.shape)}"
            )
        top, left, side = centre_box(*frame.shape[:2])
        last, small = frame, resize_array(frame[top : top + side, left : left + side], size)
        yield small

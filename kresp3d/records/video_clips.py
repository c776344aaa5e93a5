"""Clips of a video that was just decoded, cut as evaluation cuts those of a record."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.clips.crops import centre_box
from kresp3d.clips.sampling import clip_indices, uniform_starts
from kresp3d.system.arguments import check_path, shown, whole_number
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.storage import local
from kresp3d.video.decode import iter_frames
from kresp3d.video.resize import resize_array
from kresp3d.video.workers import Decode, decode_here

#: Bytes of a video's frames, as the network sees them, that are held at most: half an hour at a size of 112.
HELD = 2**30


def read_clips(path: str | os.PathLike[str], clip: ClipFormat, *, clips: int = 10) -> npt.NDArray[np.uint8]:
    """Decode a video and cut clips spread uniformly over it, as evaluation does.

    Memory does not grow with the video's length. The video is decoded in this process, which a damaged file may crash;
    `Run.predict` decodes in another one.

    Examples:
        >>> clips = kresp3d.read_clips("video.mp4", run.clip, clips=run.clips)
        >>> run.probabilities(clips).mean(axis=0)  # the scores of run.predict("video.mp4"), in the order of run.labels

    Args:
        path: The video.
        clip: How clips are cut: `Run.clip`, or a `ClipFormat` for a network of your own.
        clips: Number of clips. A run averages over `Run.clips`, which is 10 unless its configuration says otherwise.

    Returns:
        uint8 `[clips, T+s, S, S, 3]`.

    Raises:
        VideoError: If the video cannot be decoded.
        UsageError: If an argument is none of these, or the path is in an object store.
    """
    check_path(path, "the path of one video")
    if not isinstance(clip, ClipFormat):
        raise UsageError(
            f"expected clip= a ClipFormat, such as run.clip or ClipFormat(frames=16, size=64), received {shown(clip)}"
        )
    return decode_clips(local(path), clip, clips=whole_number("clips", clips))


def decode_clips(
    path: Path, clip: ClipFormat, *, clips: int, decode: Decode = decode_here, held: int = HELD
) -> npt.NDArray[np.uint8]:
    """Do what `read_clips` does, wherever the video is decoded.

    Args:
        path: The video.
        clip: How clips are cut.
        clips: Number of clips.
        decode: Where the video is decoded.
        held: Bytes of frames to hold. A video that has more is decoded again when it is known which are needed.

    Returns:
        uint8 `[clips, T+s, S, S, 3]`.

    Raises:
        VideoError: If the video cannot be decoded.
    """
    small: list[npt.NDArray[np.uint8]] = []
    count = 0
    for frame in decode(partial(read_network_frames, clip=clip), path):
        count += 1
        if count * frame.nbytes <= held:
            small.append(frame)
    only, places = _needed(count, clip, clips)
    if len(small) == count:
        return np.stack([small[number] for number in only])[places]
    small.clear()
    read = partial(read_network_frames, clip=clip, only=frozenset(only))
    return np.stack(list(decode(read, path)))[places]


def video_clips(frames: Iterable[npt.NDArray[np.uint8]], clip: ClipFormat, *, clips: int) -> npt.NDArray[np.uint8]:
    """Cut decoded frames into clips as `kresp3d.records.pipeline.evaluation_dataset` cuts a record.

    The frames, the crop and the resizing are the same. Frames are cropped and resized as they come, so that only small
    ones are kept: 38 kB each at a size of 112, and one that is held, however long, once.

    Args:
        frames: uint8 `[H, W, 3]` RGB frames in time, such as `kresp3d.video.decode.iter_frames` gives with the records'
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
    only, places = _needed(len(small), clip, clips)
    return np.stack([small[number] for number in only])[places]


def _needed(frames: int, clip: ClipFormat, clips: int) -> tuple[list[int], npt.NDArray[np.int64]]:
    """Numbers of the frames that are in clips, and which of them has each place in each clip, `[clips, T+s]`."""
    starts = uniform_starts(frames, clip.span, clips)
    indices = clip_indices(starts[:, None], clip.length, clip.frame_stride, frames)
    only, places = np.unique(indices, return_inverse=True)
    return only.tolist(), places.reshape(indices.shape)


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

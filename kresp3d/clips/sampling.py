"""Which frames of a video make a clip: index arithmetic only.

A clip of `n` frames with stride `k` that starts at `start` is `start, start + k, …`. Its length never depends on the
video's, so a video's duration tells a network nothing. A video shorter than a clip is looped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.config.schema import Config


def clip_span(frames: int, step: int, stride: int) -> int:
    """Frames of a video from a clip's first to its last, both counted.

    Args:
        frames: Frames `T` of each stream.
        step: Step size `s` of the residual frames; the clip has `T + s` frames.
        stride: Frame stride.
    """
    return (frames + step - 1) * stride + 1


def clip_indices(start: Any, n: int, stride: int, n_frames: Any) -> Any:
    """Indices of a clip's frames, each below `n_frames`.

    `start` and `n_frames` may be integers, int64 arrays or int64 tensors that broadcast against `[n]`, so that this one
    formula serves both NumPy and a `tf.data` graph; the result is of the same kind.

    Args:
        start: Index of the first frame.
        n: Frames of the clip, `T + s`.
        stride: Frame stride.
        n_frames: Frames of the video, at least 1.

    Returns:
        Integers, `[n]` or the broadcast shape.
    """
    return (start + stride * np.arange(n, dtype=np.int64)) % n_frames


def played_offsets(n: int, stride: int, speed: float) -> npt.NDArray[np.int64]:
    """Frames of a clip counted from its first, where the video plays `speed` times as fast.

    Args:
        n: Frames of the clip, `T + s`.
        stride: Frame stride at a speed of 1.
        speed: Above 0. The frame nearest to each time is taken, so below a stride of 1 frames come repeatedly.

    Returns:
        int64 `[n]`, not decreasing, from 0.
    """
    return np.floor(stride * speed * np.arange(n) + 0.5).astype(np.int64)


def number_of_starts(n_frames: int, span: int) -> int:
    """Places at which a clip may start in training; 1, at frame 0, where the video is shorter than the clip."""
    return max(n_frames - span, 0) + 1


def steps_per_epoch(n_videos: int, config: Config) -> int:
    """Training steps in an epoch: `clip.per_video` clips of each video, in full batches; at least one step."""
    return max(1, n_videos * config.clip.per_video // config.training.batch_size)


def uniform_starts(n_frames: int, span: int, clips: int) -> npt.NDArray[np.int64]:
    """First frames of clips spread evenly from the start of a video to its end.

    Args:
        n_frames: Frames of the video.
        span: What `clip_span` gives.
        clips: Number of clips; a single one lies in the middle.

    Returns:
        int64 `[clips]`, not decreasing; all 0 where the video is shorter than the clip.
    """
    last = number_of_starts(n_frames, span) - 1
    if clips == 1:
        return np.array([last // 2], np.int64)
    return np.rint(np.linspace(0, last, clips)).astype(np.int64)

"""The mean residual frame of a video: a small picture of where things moved, for a baseline that needs no training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kresp3d.records.index import Record

#: The side of the picture, in pixels.
SIDE = 16
#: Residual frames that the mean is taken over.
PAIRS = 8


def pair_times(frames: int, pairs: int = PAIRS) -> npt.NDArray[np.int64]:
    """Indices of neighbouring frames, spread evenly over a video.

    Args:
        frames: Frames of the video, at least 1.
        pairs: Pairs of neighbours.

    Returns:
        int64 `[2 * pairs]`: `t, t + 1` of each pair in turn; all 0 in a video of one frame.
    """
    if frames < 2:
        return np.zeros(2 * pairs, np.int64)
    first = np.rint(np.linspace(0, frames - 2, pairs)).astype(np.int64)
    return np.stack([first, first + 1], axis=1).ravel()


def mean_residuals(
    records: Sequence[Record],
    folder: str | Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Compute the mean of `|x[t+1] - x[t]|` over a few times of each video.

    `x` is the grey centre square, in grey levels. Each record is read once and 16 of its frames are decoded, large ones
    at a half, a quarter or an eighth of their size, which JPEG gives for less.

    Args:
        records: The videos.
        folder: The records folder.
        progress: Called with the videos done and all videos.

    Returns:
        float32 `[V, 256]`, in the order of `records`: the mean, shrunk to 16×16 pixels.

    Raises:
        KrespError: If a record is damaged.
    """
    import tensorflow as tf

    from kresp3d.records.format import damage_named, parse_record, read_record
    from kresp3d.records.video_table import VideoTable

    table = VideoTable.of(records, folder, sorted({record.label for record in records}))
    times = tf.constant(np.stack([pair_times(record.frames) for record in records]))
    shortest = min(min(record.height, record.width) for record in records)
    # Twice as large as the picture, or more, so that its pixels are means of some.
    ratio = max((ratio for ratio in (1, 2, 4, 8) if shortest // ratio >= 2 * SIDE), default=1)

    def picture(row: tf.Tensor) -> tf.Tensor:
        video = table.at(row)
        jpegs = tf.gather(parse_record(read_record(video.shard, video.offset))["frames"], times[row])
        frames = tf.map_fn(
            # The transform is named since the default may differ between builds.
            lambda jpeg: tf.io.decode_jpeg(jpeg, channels=1, ratio=ratio, dct_method="INTEGER_ACCURATE"),
            jpegs,
            fn_output_signature=tf.TensorSpec([None, None, 1], tf.uint8),
        )
        height, width = tf.shape(frames)[1], tf.shape(frames)[2]
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = tf.cast(frames[:, top : top + side, left : left + side], tf.float32)
        mean = tf.reduce_mean(tf.abs(square[1::2] - square[::2]), axis=0)
        return tf.reshape(tf.image.resize(mean, [SIDE, SIDE], "area"), [SIDE * SIDE])

    # Nothing here is written for AutoGraph, which would only trace more slowly.
    plain = tf.autograph.experimental.do_not_convert(picture)
    dataset = tf.data.Dataset.range(len(records)).map(plain, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    found: list[npt.NDArray[np.float32]] = []
    with damage_named(lambda: records, folder):
        for batch in dataset.batch(64).as_numpy_iterator():
            found.extend(batch)
            if progress is not None:
                progress(len(found), len(records))
    return np.stack(found)

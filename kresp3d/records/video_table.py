"""The videos of a split as tensors, and the frames of their clips: decoded each time, or held in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from kresp3d.records.format import damage_named, parse_record, read_record
from kresp3d.records.index import Record
from kresp3d.system.errors import KrespError
from kresp3d.system.storage import location
from kresp3d.video.resize import resize_square

logger = logging.getLogger("kresp3d")


@dataclass(frozen=True)
class Video:
    """One row of the table, as scalar tensors. `size` is the row of the frame size in `VideoTable.sizes`."""

    row: tf.Tensor
    shard: tf.Tensor
    offset: tf.Tensor
    frames: tf.Tensor
    size: tf.Tensor
    label: tf.Tensor


#: Gives frames of a video, cropped: from the video, int64 `[n]` their indices and int32 `[4]` the square (top, left,
#: height, width) to uint8 `[n, side, side, 3]`.
FrameReader = Callable[[Video, tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class VideoTable:
    """The table of videos as constant tensors, one entry for each video; `sizes` are the distinct frame sizes."""

    sizes: tuple[tuple[int, int], ...]
    shards: tf.Tensor
    shard: tf.Tensor
    offset: tf.Tensor
    frames: tf.Tensor
    size: tf.Tensor
    label: tf.Tensor

    @classmethod
    def of(cls, records: Sequence[Record], folder: str | Path, classes: Sequence[str]) -> VideoTable:
        """Make the table.

        Args:
            records: The videos.
            folder: The records folder.
            classes: Class names; a label is an index into it.

        Raises:
            KrespError: If there is no video, or a label is none of `classes`.
        """
        if not records:
            raise KrespError(f"{folder}: expected at least one video in the split, found none")
        for record in records:
            if record.label not in classes:
                raise KrespError(
                    f"{folder}: video {record.name} has the label '{record.label}', which is none of the "
                    f"{len(classes)} classes ({', '.join(classes[:5])}{', …' if len(classes) > 5 else ''})"
                )
        sizes = tuple(sorted({(record.height, record.width) for record in records}))
        shards = sorted({record.shard for record in records})
        label, shard, size = ({value: i for i, value in enumerate(values)} for values in (classes, shards, sizes))
        return cls(
            sizes=sizes,
            shards=tf.constant([str(location(folder) / name) for name in shards]),
            shard=tf.constant([shard[record.shard] for record in records], tf.int64),
            offset=tf.constant([record.offset for record in records], tf.int64),
            frames=tf.constant([record.frames for record in records], tf.int64),
            size=tf.constant([size[record.height, record.width] for record in records], tf.int64),
            label=tf.constant([label[record.label] for record in records], tf.int32),
        )

    def __len__(self) -> int:
        return int(self.frames.shape[0])

    def at(self, row: tf.Tensor) -> Video:
        """One row, by its number, an int64 scalar."""
        shard = self.shards[self.shard[row]]
        return Video(row, shard, self.offset[row], self.frames[row], self.size[row], self.label[row])


def clip_frames(read: FrameReader, video: Video, indices: tf.Tensor, box: tf.Tensor, size: int) -> tf.Tensor:
    """Frames `indices` (any shape) of a video, cropped and resized: uint8 `[*indices.shape, size, size, 3]`.

    A frame that comes more than once, in a looped video or in clips that overlap, is read once.
    """
    needed, where = tf.unique(tf.reshape(indices, [-1]))
    frames = resize_square(read(video, needed, box), size)
    return tf.gather(frames, tf.reshape(where, tf.shape(indices)))


def decode_frames(video: Video, indices: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """A `FrameReader` that reads the record and decodes what is asked for."""
    jpegs = _jpegs(video)
    return tf.map_fn(
        # The transform is named since the default may differ between builds.
        lambda jpeg: tf.image.decode_and_crop_jpeg(jpeg, box, channels=3, dct_method="INTEGER_ACCURATE"),
        tf.gather(jpegs, indices),
        fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
    )


def frame_reader(table: VideoTable, records: Sequence[Record], folder: str | Path, most_bytes: float) -> FrameReader:
    """Hold the decoded frames of all videos in memory, if they are few enough.

    Frames that are held are the same but for a few pixels at the edges of crops, where JPEG's colours reach across.

    Args:
        table: The videos.
        records: The same videos.
        folder: The records folder.
        most_bytes: If all their frames take more than this, they are decoded each time.

    Raises:
        KrespError: If a record is damaged.
    """
    size = sum(record.decoded for record in records)
    if size > most_bytes:
        return decode_frames
    held = tf.raw_ops.EmptyTensorList(
        element_shape=tf.constant([-1, -1, -1, 3]), max_num_elements=tf.constant(len(table)), element_dtype=tf.uint8
    )
    decoded = tf.data.Dataset.range(len(table)).map(
        lambda row: _decode_all(table.at(row)), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    with damage_named(lambda: records, folder):
        for frames in decoded:
            held = tf.raw_ops.TensorListPushBack(input_handle=held, tensor=frames)
    logger.info("the decoded frames of %d videos are held in memory (%.0f MiB)", len(table), size / 2**20)

    def read(video: Video, indices: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
        frames = tf.raw_ops.TensorListGetItem(
            input_handle=held,
            index=tf.cast(video.row, tf.int32),
            element_shape=tf.constant([-1, -1, -1, 3]),
            element_dtype=tf.uint8,
        )
        top, left, height, width = tf.unstack(box)
        return tf.gather(frames, indices)[:, top : top + height, left : left + width]

    return read


def _decode_all(video: Video) -> tf.Tensor:
    return tf.map_fn(
        lambda jpeg: tf.image.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE"),
        _jpegs(video),
        fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
    )


def _jpegs(video: Video) -> tf.Tensor:
    return parse_record(read_record(video.shard, video.offset))["frames"]

"""TFRecord entries: one `tf.train.Example` for each video, written in a row and read at any offset.

    frames  bytes list [N]   JPEG pictures, in time
    name, label, group       bytes; the group is empty where there is none
    fps                      float, pictures in a second
    height, width            int64, of the pictures

The table (`videos.csv`, see `kresp3d.records.index`) decides a video's split, and its group where the two differ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import tensorflow as tf

from kresp3d.datasets.splits import count, shorten
from kresp3d.records.index import Record, Records, read_index, write_index
from kresp3d.system.errors import KrespError
from kresp3d.system.files import written_aside
from kresp3d.system.storage import location, os_errors
from kresp3d.video.jpeg import encode_jpeg

logger = logging.getLogger("kresp3d")

__all__ = [
    "FEATURES",
    "Record",
    "Records",
    "ShardWriter",
    "damage_named",
    "damaged",
    "intact",
    "parse_record",
    "read_index",
    "read_record",
    "write_records",
]

#: How `tf.io.parse_single_example` reads an entry.
FEATURES = {
    "frames": tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True),
    "name": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.string),
    "group": tf.io.FixedLenFeature([], tf.string),
    "fps": tf.io.FixedLenFeature([], tf.float32),
    "height": tf.io.FixedLenFeature([], tf.int64),
    "width": tf.io.FixedLenFeature([], tf.int64),
}

#: Bytes that TFRecord puts around an entry: its length (8) and checksum (4) before, its checksum (4) after.
FRAMING = 16


class VideoLike(Protocol):
    """What a record needs to know of a video; `kresp3d.datasets.catalog.Video` is one."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def group(self) -> str | None: ...
    @property
    def split(self) -> str: ...


def read_record(path: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Read one entry at its place in a shard. For use inside `tf.data.Dataset.map`, or eagerly.

    A dataset of (path, offset) pairs mapped with this is random access: it can be shuffled wholly, and skipped
    without reading.

    Args:
        path: String scalar, the shard.
        offset: int64 scalar, the entry's first byte.

    Returns:
        String scalar, the serialised `tf.train.Example`.
    """
    entries = tf.raw_ops.TFRecordDatasetV2(
        filenames=tf.reshape(path, [1]),
        compression_type="",
        # Unbuffered: one entry is one read, and nothing of the next is read ahead.
        buffer_size=tf.constant(0, tf.int64),
        byte_offsets=tf.reshape(tf.cast(offset, tf.int64), [1]),
    )
    dataset = tf.data.experimental.from_variant(entries, tf.TensorSpec([], tf.string))
    return dataset.take(1).get_single_element()


def parse_record(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """The features of one entry: `frames` is a string tensor [N] of JPEG pictures, the others are scalars."""
    features: dict[str, tf.Tensor] = tf.io.parse_single_example(serialized, FEATURES)
    return features


#: What a wrong checksum, a cut-off entry, a picture that is none and a missing shard give; a full memory is not among
#: them. Where TensorFlow's message quotes the entry, making text of it may fail.
DAMAGE = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    UnicodeDecodeError,
)


def damaged(records: Iterable[Record], folder: str | Path, *, pictures: bool = False) -> Iterator[Record]:
    """Those of the records whose bytes are not what was written, by reading each and its checksum.

    Args:
        records: The records.
        folder: Where their shards are.
        pictures: Decode the pictures, too, which takes much longer.
    """
    for record in records:
        try:
            frames = parse_record(read_record(str(location(folder) / record.shard), record.offset))["frames"].numpy()
            for jpeg in frames if pictures else ():
                tf.image.decode_jpeg(jpeg, channels=3)
        except DAMAGE:
            yield record
            continue
        if len(frames) != record.frames:
            yield record


def intact(records: Sequence[Record], folder: str | Path) -> list[Record]:
    """The records without the damaged ones, which are named in a warning."""
    bad = list(damaged(records, folder))
    if bad:
        named = shorten([f"{record.name} ({record.shard})" for record in bad])
        logger.warning("%s: %s left out: %s", folder, count(len(bad), "damaged record"), named)
    left_out = set(bad)
    return [record for record in records if record not in left_out]


@contextmanager
def damage_named(records: Callable[[], Iterable[Record]], folder: str | Path) -> Iterator[None]:
    """Turn TensorFlow's error of reading a damaged record into a sentence that names it.

    An error that comes from somewhere else is raised as it is.

    Args:
        records: Gives those that may be the reason.
        folder: Where their shards are.

    Raises:
        KrespError: If one of the records is damaged.
    """
    try:
        yield
    except DAMAGE as error:
        bad = next(damaged(records(), folder), None) or next(damaged(records(), folder, pictures=True), None)
        if bad is None:
            raise
        shard = location(folder) / bad.shard
        if not shard.exists():
            raise KrespError(
                f"{shard} is missing; write the records anew by `kresp3d data prepare --overwrite`"
            ) from error
        raise KrespError(
            f"{shard} is damaged at byte {bad.offset}, in the record of {bad.name}; write the "
            "records anew by `kresp3d data prepare --overwrite`, or set data.skip_damaged: true to leave out what is "
            "damaged"
        ) from error


class ShardWriter:
    """Writes one shard; the file appears under its name when the `with` block ends without an error.

    Raises:
        OSError: If it cannot be written, with the system's number, such as that of a full disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        with ExitStack() as closing:
            temporary = closing.enter_context(written_aside(path))
            with os_errors(path):
                self._writer = tf.io.TFRecordWriter(str(temporary))
            self._closing = closing.pop_all()

    def add(self, video: VideoLike, pictures: Sequence[bytes], *, fps: float, height: int, width: int) -> Record:
        """Append a video.

        Args:
            video: Its name, label, group and split.
            pictures: JPEG pictures, all of `height` by `width` pixels.
            fps: Pictures in a second.
            height: Pixels.
            width: Pixels.
        """
        features = {
            "frames": _bytes(*pictures),
            "name": _bytes(video.name.encode()),
            "label": _bytes(video.label.encode()),
            "group": _bytes((video.group or "").encode()),
            "fps": tf.train.Feature(float_list=tf.train.FloatList(value=[fps])),
            "height": tf.train.Feature(int64_list=tf.train.Int64List(value=[height])),
            "width": tf.train.Feature(int64_list=tf.train.Int64List(value=[width])),
        }
        # Without a fixed order of the features the same videos would be other bytes in each process.
        entry = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)
        with os_errors(self.path):
            self._writer.write(entry)
        offset, length = self.size, len(entry) + FRAMING
        self.size += length
        return Record(
            video.name,
            video.label,
            video.group,
            video.split,
            len(pictures),
            height,
            width,
            self.path.name,
            offset,
            length,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with os_errors(self.path):
                self._writer.close()
        except OSError as failure:
            self._closing.__exit__(type(failure), failure, failure.__traceback__)
            # What was still buffered may fail to be written too, as on a full disk; the first error is the one to show.
            if error is None:
                raise
        else:
            self._closing.__exit__(kind, error, trace)


def write_records(
    folder: str | Path,
    videos: Iterable[tuple[VideoLike, Iterable[np.ndarray]]],
    *,
    fps: float = 15.0,
    jpeg_quality: int = 90,
) -> Records:
    """Write frames that are already in memory as a records folder of one shard.

    Args:
        folder: Made if it is not there.
        videos: Each video with its frames, uint8 [H, W, 3], all of one size and at least one.
        fps: Frames in a second.
        jpeg_quality: 1 to 100.
    """
    folder = location(folder)
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    with ShardWriter(folder / "shard-00000.tfrecord") as shard:
        for video, frames in videos:
            frames = list(frames)
            height, width = frames[0].shape[:2]
            pictures = [encode_jpeg(frame, jpeg_quality) for frame in frames]
            records.append(shard.add(video, pictures, fps=fps, height=height, width=width))
    settings: dict[str, Any] = {"fps": fps, "short_side": None, "jpeg_quality": jpeg_quality}
    return write_index(folder, records, sorted({record.label for record in records}), settings=settings)


def _bytes(*values: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

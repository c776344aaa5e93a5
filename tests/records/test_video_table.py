"""Reading frames. What a training dataset makes of them is tested in test_pipeline.py."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from kresp3d.records.format import ShardWriter, write_records
from kresp3d.records.index import Records
from kresp3d.records.video_table import VideoTable, clip_frames, decode_frames, frame_reader
from kresp3d.system.errors import KrespError

#: Frames, height and width of each video.
SHAPES = ((7, 24, 32), (4, 40, 30), (9, 24, 32))


def video(number: int) -> SimpleNamespace:
    return SimpleNamespace(name=f"v{number}", label=("run", "walk")[number % 2], group=None, split="train")


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Records:
    random = np.random.default_rng(0)
    frames = [np.full((*shape, 3), random.integers(0, 256, (shape[0], 1, 1, 3)), np.uint8) for shape in SHAPES]
    folder = tmp_path_factory.mktemp("records")
    return write_records(folder, [(video(number), pictures) for number, pictures in enumerate(frames)])


def table_of(records: Records) -> VideoTable:
    return VideoTable.of(records.videos, records.folder, records.classes)


def reader(records: Records, most_bytes: float):
    return frame_reader(table_of(records), records.videos, records.folder, most_bytes)


def test_a_row_tells_of_its_video(records):
    table = table_of(records)
    assert len(table) == 3
    assert table.sizes == ((24, 32), (40, 30))
    for number, (record, (count, *size)) in enumerate(zip(records.videos, SHAPES, strict=True)):
        row = table.at(tf.constant(number, tf.int64))
        assert (row.frames, table.sizes[row.size], row.label) == (count, tuple(size), number % 2)
        assert (row.shard, row.offset) == (str(records.folder / record.shard).encode(), record.offset)


def test_frames_are_held_only_where_all_fit(records):
    size = sum(count * height * width * 3 for count, height, width in SHAPES)
    assert reader(records, size) is not decode_frames
    assert reader(records, size - 1) is decode_frames
    assert reader(records, 0) is decode_frames


@pytest.mark.parametrize("number", range(3))
def test_held_frames_are_those_that_are_decoded(records, number):
    row = table_of(records).at(tf.constant(number, tf.int64))
    indices, box = tf.constant([3, 0, 2], tf.int64), tf.constant([4, 2, 20, 20])
    found = reader(records, 1e9)(row, indices, box)
    assert found.shape == (3, 20, 20, 3)
    # The pictures are plain, so that no colour reaches across the edge of a crop.
    np.testing.assert_array_equal(found, decode_frames(row, indices, box))


def test_a_frame_that_comes_more_than_once_is_read_once(records):
    read_indices = []

    def read(video, indices, box):
        read_indices.extend(indices.numpy().tolist())
        return decode_frames(video, indices, box)

    row = table_of(records).at(tf.constant(1, tf.int64))
    frames = clip_frames(read, row, tf.constant([[3, 0, 3], [0, 1, 3]], tf.int64), tf.constant([0, 0, 30, 30]), 12)
    assert frames.shape == (2, 3, 12, 12, 3)
    assert sorted(read_indices) == [0, 1, 3]
    np.testing.assert_array_equal(frames[0, 0], frames[1, 2])
    assert (frames[0, 0] != frames[0, 1]).numpy().any()


def test_a_damaged_record_is_named_before_training_begins(tmp_path):
    with ShardWriter(tmp_path / "shard-00000.tfrecord") as shard:
        record = shard.add(video(0), [b"no picture"] * 3, fps=15.0, height=24, width=32)
    table = VideoTable.of([record], tmp_path, ("run", "walk"))
    with pytest.raises(KrespError, match=rf"{tmp_path}/shard-00000.tfrecord is damaged at byte .* prepare --overwrite"):
        frame_reader(table, [record], tmp_path, 1e9)

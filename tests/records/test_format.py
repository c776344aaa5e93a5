import errno
import os
from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf

from kresp3d.records import format as module
from kresp3d.records.format import FRAMING, ShardWriter, parse_record, read_index, read_record, write_records
from kresp3d.system.errors import KrespError


@dataclass(frozen=True)
class Clip:
    name: str
    label: str
    group: str | None
    split: str


def frames_of(video: int, count: int) -> np.ndarray:
    """Even grey frames, each of its own brightness: JPEG keeps them almost exactly."""
    return np.stack([np.full((16, 24, 3), 10 * video + 3 * t, np.uint8) for t in range(count)])


@pytest.fixture
def records(tmp_path):
    videos = [Clip(f"c{i % 3}/v{i}.mp4", f"c{i % 3}", None if i == 2 else f"g{i}", "train") for i in range(6)]
    return write_records(tmp_path / "records", [(v, frames_of(i, i + 1)) for i, v in enumerate(videos)], fps=12.5)


def test_offsets_point_at_the_entries_a_sequential_reader_finds(records):
    path = str(records.folder / "shard-00000.tfrecord")
    sequential = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    at_offsets = [
        read_record(tf.constant(path), tf.constant(video.offset, tf.int64)).numpy() for video in records.videos
    ]
    assert at_offsets == sequential
    assert [video.length for video in records.videos] == [len(entry) + FRAMING for entry in sequential]


def test_a_mapped_dataset_reads_in_any_order(records):
    order = [4, 0, 5, 2, 2, 1]
    paths = [str(records.folder / records.videos[i].shard) for i in order]
    offsets = np.array([records.videos[i].offset for i in order], np.int64)
    dataset = tf.data.Dataset.from_tensor_slices((paths, offsets)).map(read_record, num_parallel_calls=2)
    names = [parse_record(entry)["name"].numpy().decode() for entry in dataset]
    assert names == [records.videos[i].name for i in order]


def test_an_entry_holds_its_pictures_and_facts(records):
    video = records.videos[4]
    entry = parse_record(read_record(str(records.folder / video.shard), video.offset))
    assert entry["label"].numpy() == b"c1"
    assert entry["group"].numpy() == b"g4"
    assert entry["fps"].numpy() == 12.5
    assert (entry["height"].numpy(), entry["width"].numpy()) == (16, 24) == (video.height, video.width)
    pictures = np.stack([tf.io.decode_jpeg(jpeg, channels=3).numpy() for jpeg in entry["frames"]])
    expected = frames_of(4, 5)
    assert pictures.shape == expected.shape
    assert np.abs(pictures.astype(int) - expected).max() <= 1


def test_the_index_reads_back_as_written(records):
    again = read_index(records.folder)
    assert again == records
    assert again.classes == ("c0", "c1", "c2")
    assert again.videos[2].group is None
    assert again.videos[2].frames == 3


def test_a_wrong_offset_is_an_error_and_no_other_video(records):
    video = records.videos[1]
    with pytest.raises(tf.errors.DataLossError):
        read_record(str(records.folder / video.shard), video.offset + 1)


def test_a_shard_that_fails_midway_leaves_no_file(tmp_path):
    with pytest.raises(ZeroDivisionError), ShardWriter(tmp_path / "s.tfrecord") as shard:
        shard.add(Clip("a", "b", None, "test"), [b"jpeg"], fps=1.0, height=1, width=1)
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_a_shard_has_its_name_only_when_whole(tmp_path):
    path = tmp_path / "s.tfrecord"
    with ShardWriter(path) as shard:
        shard.add(Clip("a", "b", None, "test"), [b"jpeg"], fps=1.0, height=1, width=1)
        assert not path.exists()
    assert path.stat().st_size == shard.size


def test_framing_is_what_tensorflow_puts_around_an_entry(tmp_path):
    path = tmp_path / "one.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"12345")
    assert path.stat().st_size == 5 + module.FRAMING


def test_a_full_disk_is_reported_as_such(tmp_path):
    (tmp_path / f".part-{os.getpid()}-s.tfrecord").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught, ShardWriter(tmp_path / "s.tfrecord") as shard:
        shard.add(Clip("a", "b", None, "test"), [bytes(2**20)], fps=1.0, height=1, width=1)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def flip(records, offset):
    shard = records.folder / "shard-00000.tfrecord"
    content = bytearray(shard.read_bytes())
    content[offset] ^= 1
    shard.write_bytes(content)


@pytest.mark.parametrize("place", [0, 8, 12, 100, -1])
def test_a_flipped_bit_anywhere_is_found_and_the_record_named_or_left_out(place, records, caplog, monkeypatch):
    monkeypatch.setattr("kresp3d.records.format.logger.propagate", True)
    videos, folder = records.videos, records.folder
    assert list(module.damaged(videos, folder, pictures=True)) == []
    third = videos[2]
    flip(records, third.offset + place % third.length)
    assert list(module.damaged(videos, folder)) == [third]
    with (
        pytest.raises(KrespError, match=rf"shard-00000.tfrecord is damaged at byte {third.offset}, .* {third.name}"),
        module.damage_named(lambda: videos, folder),
    ):
        parse_record(read_record(str(folder / third.shard), third.offset))
    assert module.intact(videos, folder) == [video for video in videos if video != third]
    assert f"1 damaged record left out: {third.name} (shard-00000.tfrecord)" in caplog.text


def test_a_shard_that_is_deleted_meanwhile_is_named(records):
    video = records.videos[0]
    (records.folder / video.shard).unlink()
    with (
        pytest.raises(KrespError, match=r"shard-00000.tfrecord is missing; write the records anew by"),
        module.damage_named(lambda: records.videos, records.folder),
    ):
        read_record(str(records.folder / video.shard), video.offset)


def test_pictures_that_are_none_are_found_by_decoding_them(tmp_path):
    with ShardWriter(tmp_path / "shard-00000.tfrecord") as shard:
        record = shard.add(Clip("a", "run", None, "train"), [b"no picture"] * 3, fps=15.0, height=24, width=32)
    assert list(module.damaged([record], tmp_path)) == []
    assert list(module.damaged([record], tmp_path, pictures=True)) == [record]


def test_errors_of_something_else_are_not_blamed_on_the_records(records):
    with (
        pytest.raises(tf.errors.InvalidArgumentError),
        module.damage_named(lambda: records.videos, records.folder),
    ):
        tf.linalg.matmul(tf.zeros([2, 3]), tf.zeros([2, 3]))

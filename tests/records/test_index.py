import json

import pytest

from kresp3d.records.index import Record, read_index, reading, write_index
from kresp3d.system.errors import KrespError
from kresp3d.system.files import locked


def record(name: str, split: str = "train", group: str | None = "g1") -> Record:
    return Record(name, "walk", group, split, 20, 48, 64, "shard-00000.tfrecord", 0, 100)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shard-00000.tfrecord").write_bytes(b"x" * 100)
    videos = [record('walk/a "b", c.mp4'), record("walk/ü.mp4", "test", None)]
    write_index(tmp_path, videos, ["walk"], settings={"fps": 15.0})
    return tmp_path


def test_awkward_names_and_missing_groups_read_back(folder):
    read = read_index(folder)
    assert [video.name for video in read.videos] == ['walk/a "b", c.mp4', "walk/ü.mp4"]
    assert [video.group for video in read.videos] == ["g1", None]
    assert [video.name for video in read.split("test")] == ["walk/ü.mp4"]
    assert read.settings == {"fps": 15.0}


def test_an_unfinished_folder_is_refused(folder):
    (folder / "index.json").unlink()
    with pytest.raises(KrespError, match=r"index\.json is missing.*data prepare"):
        read_index(folder)


def test_another_version_is_refused(folder):
    path = folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(KrespError, match="format 99"):
        read_index(folder)


def test_a_missing_shard_is_named(folder):
    (folder / "shard-00000.tfrecord").unlink()
    with pytest.raises(KrespError, match=r"shard-00000\.tfrecord is missing"):
        read_index(folder)


def test_a_shard_of_another_size_is_named(folder):
    (folder / "shard-00000.tfrecord").write_bytes(b"x" * 99)
    with pytest.raises(KrespError, match="99 bytes instead of 100"):
        read_index(folder)


@pytest.mark.parametrize("text", ["", "name,label\na,b\n", "[1]"])
def test_a_damaged_table_is_refused(folder, text):
    (folder / "videos.csv").write_text(text)
    with pytest.raises(KrespError, match=r"videos\.csv"):
        read_index(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"format": 1}'])
def test_a_damaged_index_is_refused(folder, text):
    (folder / "index.json").write_text(text)
    with pytest.raises(KrespError, match=r"index\.json"):
        read_index(folder)


def test_a_table_with_a_row_cut_off_is_refused(folder):
    path = folder / "videos.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(KrespError, match="1 rows, its index 2"):
        read_index(folder)


def test_many_may_read_a_folder_and_none_may_write_it_meanwhile(tmp_path):
    writing = locked(tmp_path, "reading")
    with reading(tmp_path), reading(tmp_path), pytest.raises(KrespError, match="another process is reading"), writing:
        pass
    writing, late = locked(tmp_path, "reading"), reading(tmp_path)
    with writing, pytest.raises(KrespError, match="another process is preparing"), late:
        pass

from __future__ import annotations

import pickle
import uuid
from pathlib import Path

import pytest
import tensorflow as tf

from kresp3d.config.schema import load_config
from kresp3d.system import storage, stores
from kresp3d.system.errors import UsageError
from kresp3d.system.files import at_hand, locked, publish, put_together, remove, written_aside
from kresp3d.system.storage import RemotePath, is_remote, local, location, os_errors


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> RemotePath:
    """A folder in TensorFlow's file system in memory, which has the interface of an object store's.

    Unlike a store, it appends where a file is to be replaced; so each file is written once.
    """
    monkeypatch.setitem(stores._CHECKS, "ram", lambda authority: None)
    monkeypatch.setattr(storage, "WITH_FOLDERS", {"ram"})
    made = location(f"ram://{uuid.uuid4().hex}/folder")
    assert isinstance(made, RemotePath)
    made.mkdir(parents=True)
    return made


@pytest.mark.parametrize("text", ["s3://bucket/a/b", "gs://bucket/a", "az://account/container/a", "hdfs://host:8020/a"])
def test_a_scheme_makes_a_remote_path(text):
    path = location(text)
    assert isinstance(path, RemotePath) and is_remote(path)
    assert str(path) == text == path.__fspath__()
    assert str(location(path)) == text
    assert str(path / "c.json") == f"{text}/c.json" and (path / "c.json").name == "c.json"
    assert str((path / "c.json").parent) == text
    assert pickle.loads(pickle.dumps(path)) == path
    assert str(path.resolve()) == str(path.expanduser()) == text
    assert f"{path.scheme}://{path.authority}" == "/".join(text.split("/")[:3])


@pytest.mark.parametrize("text", ["runs/base", "/tmp/a", "C:/x", "a:b/c", "."])
def test_other_paths_are_of_this_machine(text):
    assert type(location(text)) is type(Path(text)) and location(text) == local(text) == Path(text)


def test_a_store_alone_is_no_folder():
    with pytest.raises(UsageError, match=r"s3://bucket names no folder; expected s3://bucket/FOLDER"):
        location("s3://bucket")
    with pytest.raises(UsageError, match="names no folder"):
        location("s3://")


def test_what_must_be_here_is_refused():
    with pytest.raises(UsageError, match=r"s3://bucket/a is in an object store"):
        local("s3://bucket/a")


def test_files_and_folders(folder):
    assert not (folder / "a.txt").exists() and not (folder / "a.txt").is_file()
    assert (folder / "a.txt").write_text("one\ntwo\n") == 8
    assert (folder / "a.txt").read_text(encoding="utf-8") == "one\ntwo\n"
    assert (folder / "a.txt").is_file() and not (folder / "a.txt").is_dir() and folder.is_dir()
    assert (folder / "a.txt").stat().st_size == 8
    with (folder / "a.txt").open(encoding="utf-8", newline="") as file:
        assert list(file) == ["one\n", "two\n"]
    with (folder / "a.txt").open("rb") as file:
        assert file.read(3) == b"one"
    (folder / "b.bin").write_bytes(b"\0\1")
    assert [path.name for path in folder.iterdir()] == ["a.txt", "b.bin"]
    assert list(folder.glob("*.bin")) == [folder / "b.bin"]
    with pytest.raises(NotImplementedError):
        list(folder.glob("*/b.bin"))
    assert list(folder.files()) == [folder / "a.txt", folder / "b.bin"]
    (folder / "a.txt").unlink()
    assert list(folder.iterdir()) == [folder / "b.bin"]
    remove(folder)
    assert not folder.exists() and list(folder.iterdir()) == []


def test_signs_of_patterns_in_a_folder_s_name_are_no_patterns(folder):
    inside = folder / "lr[0.1]"
    inside.mkdir()
    (inside / "epoch-1.index").write_text("x")
    assert list(inside.glob("epoch-*.index")) == [inside / "epoch-1.index"]


def test_what_is_not_there_is_python_s_error(folder):
    with pytest.raises(FileNotFoundError) as caught:
        (folder / "none").read_bytes()
    assert caught.value.filename == str(folder / "none")
    with pytest.raises(FileNotFoundError):
        (folder / "none").stat()
    with pytest.raises(FileNotFoundError):
        (folder / "none").unlink()
    (folder / "none").unlink(missing_ok=True)


def test_what_no_store_can_do_touches_no_file_of_this_machine(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for forbidden in (
        lambda: folder.touch(),
        lambda: folder.rename("x"),
        lambda: (folder / "x").replace(folder / "y"),
        lambda: (folder / "x").open("w"),
        lambda: (folder / "x").open("ab"),
    ):
        with pytest.raises(NotImplementedError):
            forbidden()
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_when_it_is_whole(folder):
    with written_aside(folder / "a.txt") as temporary:
        assert type(temporary) is type(Path())
        temporary.write_text("whole")
        assert not (folder / "a.txt").exists()
    assert (folder / "a.txt").read_text() == "whole" and not temporary.exists()
    with pytest.raises(ZeroDivisionError), written_aside(folder / "b.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert not (folder / "b.txt").exists() and not temporary.exists()


def test_the_files_at_the_top_of_a_folder_are_published_last(folder, monkeypatch):
    order = []
    upload = RemotePath.upload
    monkeypatch.setattr(RemotePath, "upload", lambda self, source: (order.append(self.name), upload(self, source)))
    with put_together(folder) as aside:
        (aside / "1" / "variables").mkdir(parents=True)
        (aside / "1" / "saved_model.pb").write_bytes(b"graph")
        (aside / "1" / "variables" / "data").write_bytes(b"weights")
        publish(aside / "1", folder / "1")
    assert order == ["data", "saved_model.pb"]
    assert (folder / "1" / "variables" / "data").read_bytes() == b"weights"
    with at_hand(folder / "1") as copy:
        assert (copy / "saved_model.pb").read_bytes() == b"graph"
        assert (copy / "variables" / "data").read_bytes() == b"weights"
    assert not copy.exists()


def test_files_that_belong_together_are_brought_together(folder):
    (folder / "net.xml").write_text("xml")
    (folder / "net.bin").write_text("bin")
    with at_hand(folder / "net.xml", folder / "net.bin") as copy:
        assert copy.read_text() == "xml" and copy.with_name("net.bin").read_text() == "bin"


def test_a_path_of_this_machine_is_at_hand_already(tmp_path):
    with at_hand(tmp_path / "a") as path:
        assert path == tmp_path / "a"


def test_publishing_replaces_a_folder_on_a_disk(tmp_path):
    (tmp_path / "target" / "old").mkdir(parents=True)
    with put_together(tmp_path) as aside:
        (aside / "new").mkdir()
        publish(aside / "new", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert list((tmp_path / "target").iterdir()) == []


def test_records_are_read_from_a_store(folder, tmp_path):
    import numpy as np

    from kresp3d.datasets.catalog import Video
    from kresp3d.records.format import damaged, read_index, write_records

    frames = np.zeros((3, 8, 8, 3), np.uint8)
    written = write_records(folder, [(Video(Path("a.mp4"), "a.mp4", "walk", None, "train"), frames)])
    assert read_index(str(folder)).videos == written.videos
    assert list(damaged(written.videos, folder, pictures=True)) == []
    assert str(written.folder) == str(folder)


def test_readers_of_a_store_hold_nothing(folder):
    with locked(folder, "x", shared=True):
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (tf.errors.NotFoundError, FileNotFoundError),
        (tf.errors.PermissionDeniedError, PermissionError),
        (tf.errors.AlreadyExistsError, FileExistsError),
        (tf.errors.ResourceExhaustedError, OSError),
        (tf.errors.UnavailableError, OSError),
    ],
)
def test_tensorflow_s_errors_become_python_s(error, kind):
    with pytest.raises(kind, match="because") as caught, os_errors(Path("x")):
        raise error(None, None, "because")
    assert caught.value.filename == "x"


def test_a_configuration_there_extends_a_file_beside_it_or_a_name(folder):
    (folder / "parent.yaml").write_text("extends: paper/synthetic/rgb\nseed: 8\n")
    (folder / "child.yaml").write_text("extends: parent.yaml\nname: child\n")
    assert load_config(str(folder / "child.yaml")) == load_config("paper/synthetic/rgb", ["seed=8", "name=child"])
    with pytest.raises(UsageError, match=f"not found: {folder}/base;"):
        load_config(f"{folder}/base")

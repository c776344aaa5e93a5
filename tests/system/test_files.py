from __future__ import annotations

import errno
import os
from unittest.mock import Mock

import pytest

from kresp3d.system.errors import KrespError
from kresp3d.system.files import (
    LOCK,
    PART,
    append,
    copy_tree,
    locked,
    log_file,
    names_in,
    publish,
    remove,
    write_text,
    written_aside,
)


def test_a_file_appears_only_when_whole(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "earlier")
    with pytest.raises(RuntimeError), written_aside(path) as temporary:
        temporary.write_text("half")
        assert temporary.suffix == path.suffix and path.read_text() == "earlier"
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"] and path.read_text() == "earlier"
    with written_aside(path) as temporary:
        temporary.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"] and path.read_text() == "whole"


def test_removing_a_link_leaves_what_it_leads_to(tmp_path):
    (tmp_path / "other_disk").mkdir()
    (tmp_path / "other_disk" / "epoch-1").write_text("")
    (tmp_path / "checkpoints").symlink_to(tmp_path / "other_disk")
    for name in ("checkpoints", "checkpoints"):  # the second time it is gone already
        remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["other_disk"]
    remove(tmp_path / "other_disk")
    assert not list(tmp_path.iterdir())


def test_text_that_cannot_be_written_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old\r\n")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_bytes() == b"old\r\n"
    assert list(tmp_path.iterdir()) == [path]


def test_one_alone_holds_a_folder_or_many_share_it(tmp_path):
    with locked(tmp_path, "busy"):
        for shared in (False, True):
            with pytest.raises(KrespError, match="another process is busy"), locked(tmp_path, "busy", shared=shared):
                pass
    with locked(tmp_path, "busy", shared=True), locked(tmp_path, "busy", shared=True):
        pass
    with locked(tmp_path, "busy"):
        pass


def test_an_error_of_the_system_is_not_taken_for_another_process(tmp_path, monkeypatch):
    # What a file system over a network says that has no locks.
    no_locks = OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    monkeypatch.setattr("fcntl.flock", Mock(side_effect=no_locks))
    with pytest.raises(OSError, match="No locks available"), locked(tmp_path, "busy"):
        pass


def test_what_belongs_to_a_folder_and_what_does_not(tmp_path):
    for name in ("report.md", LOCK, f"{PART}1-report.md", "letter.txt"):
        (tmp_path / name).touch()
    names, foreign = names_in(tmp_path, ["report.md"], "a sweep")
    assert foreign == ["letter.txt"] and len(names) == 4 and names == sorted(names)
    assert names_in(tmp_path / "none", [], "a sweep") == ([], [])
    with pytest.raises(KrespError, match="is a file; a sweep needs a folder"):
        names_in(tmp_path / "letter.txt", [], "a sweep")


def test_what_cannot_be_appended_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    append(path, b"one\n")
    append(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        append(path, b"three\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_log_goes_on_where_it_ended(tmp_path):
    for text in (b"one\n", b"two\n"):
        with log_file(tmp_path / "log") as file:
            os.write(file.fileno(), text)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_a_copied_folder_lacks_what_is_left_out(tmp_path):
    (tmp_path / "a" / "inner").mkdir(parents=True)
    for name in ("keep", "drop", "inner/keep"):
        (tmp_path / "a" / name).write_text(name)
    (tmp_path / f"{PART}b").mkdir()
    copy_tree(tmp_path / "a", tmp_path / "b", ["drop"])
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {
        *("a", "a/drop", "a/inner", "a/inner/keep", "a/keep"),
        *("b", "b/inner", "b/inner/keep", "b/keep"),
    }


def folder_of(path, text):
    path.mkdir()
    (path / "file").write_text(text)
    return path


def test_a_folder_that_is_replaced_is_kept_until_the_new_one_is_there(tmp_path, monkeypatch):
    old, new = folder_of(tmp_path / "model", "old"), folder_of(tmp_path / "new", "new")
    rename = type(tmp_path).rename

    def refuse(self, target):
        if self == new:
            raise OSError(errno.ENOSPC, "full")
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
        patch.setattr(type(tmp_path), "rename", refuse)
        publish(new, old)
    assert (old / "file").read_text() == "old"
    publish(new, old)
    assert (old / "file").read_text() == "new" and [path.name for path in tmp_path.iterdir()] == ["model"]

from __future__ import annotations

import errno
import os
from unittest.mock import Mock

import pytest

from kresp3d.errors import KrespError
from kresp3d.files import LOCK, PART, locked, names_in, remove, write_text, written_aside


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

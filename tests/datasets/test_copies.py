"""Files of the same content under different names."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.datasets import copies
from kresp3d.datasets.copies import copies_of, equal_files, warn_of_copies


@given(st.lists(st.sampled_from([b"", b"a", b"b", b"ab", b"abcdefgh", b"abXdefgh", b"abcdeXgh"]), max_size=12))
def test_equal_files_are_those_with_the_same_bytes(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("equal")
    paths = [folder / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    expected = defaultdict(list)
    for index, content in enumerate(contents):
        expected[hashlib.md5(content).digest()].append(index)
    with pytest.MonkeyPatch.context() as patch:
        # So short that some differ only in the middle.
        patch.setattr(copies, "_ENDS", 2)
        assert sorted(equal_files(paths)) == sorted(same for same in expected.values() if len(same) > 1)


def test_pipes_and_what_is_not_there_are_passed_over(tmp_path):
    for name in ("a", "b"):
        os.mkfifo(tmp_path / name)
        (tmp_path / f"{name}.mp4").write_bytes(b"same")
    # Opening a pipe would wait for a writer for ever.
    paths = [tmp_path / name for name in ("a", "b", "missing", "a.mp4", "b.mp4", "missing")]
    assert equal_files(paths) == [[3, 4]]


def test_files_of_other_sizes_and_of_no_interest_are_not_read(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(copies, "_ends", lambda path: read.append(path.name) or path.read_bytes())
    for name, content in {"a": b"one", "b": b"two", "c": b"three", "d": b"seven"}.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in "abcd"]
    assert equal_files(paths, lambda same: 0 in same) == []
    assert read == ["a", "b"]


def test_a_copy_is_named_with_its_original_whatever_else_is_equal(tmp_path):
    for name, content in {"old/a": b"one", "old/b": b"two", "new/x": b"one", "new/y": b"one", "new/z": b"2"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    os.link(tmp_path / "old" / "b", tmp_path / "new" / "link")
    (tmp_path / "new" / "folder").mkdir()
    new = {name: tmp_path / "new" / name for name in ("x", "y", "z", "link", "missing", "folder")}
    old = {name: tmp_path / "old" / name for name in ("a", "b", "missing")}
    assert copies_of(new, old) == {"x": "a", "y": "a", "link": "b"}
    # Equal files of one side alone are none.
    assert copies_of({"x": new["x"], "y": new["y"]}, {"b": old["b"]}) == {}


def test_copies_on_one_side_are_no_matter_and_those_on_two_are_warned_of(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("kresp3d.datasets.copies.logger.propagate", True)
    files = {name: tmp_path / name for name in "abc"}
    for name, content in {"a": b"1", "b": b"1", "c": b"2"}.items():
        files[name].write_bytes(content)
    warn_of_copies(files, {"a": "train", "b": "train", "c": "test"}, "side of the split")
    assert caplog.text == ""
    warn_of_copies(files, {"a": "train", "b": "test", "c": "test"}, "side of the split")
    assert "1 video has the same content as another one on another side of the split, such as a and b" in caplog.text

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kresp3d.datasets.readers.folder_tree import find_videos, read_tree, stem
from kresp3d.system.errors import KrespError


def touch(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(root: Path) -> list[str]:
    return [path.as_posix() for path in find_videos(root)]


def test_videos_are_found_by_their_endings_in_any_case(tmp_path: Path) -> None:
    touch(tmp_path, ["b/1.MP4", "a/2.avi", "a/deep/3.webm", "a/notes.txt", "a/.hidden.mp4", ".git/4.mp4", "readme"])
    touch(tmp_path, ["__MACOSX/a/5.mp4"])
    assert found(tmp_path) == ["a/2.avi", "a/deep/3.webm", "b/1.MP4"]


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", ["1.mp4"])
    root = touch(tmp_path / "root", ["a/2.mp4"])
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(root / "a")
    assert found(root) == ["a/2.mp4", "b/1.mp4"]


def test_the_first_folder_is_the_class(tmp_path: Path) -> None:
    touch(tmp_path, ["run/x/1.mp4", "walk/2.mp4"])
    entries = read_tree(tmp_path, find_videos(tmp_path))
    assert [(e.name, e.label, e.group, e.split) for e in entries] == [
        ("run/x/1.mp4", "run", None, None),
        ("walk/2.mp4", "walk", None, None),
    ]
    assert entries[0].path == tmp_path / "run/x/1.mp4"


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Validation"])
def test_folders_of_splits_above_the_classes_are_splits(name: str, tmp_path: Path) -> None:
    touch(tmp_path, ["train/run/1.mp4", "train/walk/1.mp4", f"{name}/run/2.mp4", "test/walk/3.mp4"])
    splits = {e.name: (e.label, e.split) for e in read_tree(tmp_path, find_videos(tmp_path))}
    assert splits == {
        "train/run/1.mp4": ("run", "train"),
        "train/walk/1.mp4": ("walk", "train"),
        f"{name}/run/2.mp4": ("run", "validation"),
        "test/walk/3.mp4": ("walk", "test"),
    }


@pytest.mark.parametrize("other", ["run", "val"])
def test_without_training_videos_test_is_a_class(other: str, tmp_path: Path) -> None:
    touch(tmp_path, ["test/x/1.mp4", f"{other}/x/1.mp4"])
    found = {(e.label, e.split) for e in read_tree(tmp_path, find_videos(tmp_path))}
    assert found == {(other, None), ("test", None)}


def test_videos_outside_classes_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, ["loose.mp4", "run/1.mp4"])
    assert [e.name for e in read_tree(tmp_path, find_videos(tmp_path))] == ["run/1.mp4"]
    assert "1 video outside any class folder left out" in caplog.text


def test_a_folder_of_videos_without_classes_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["1.mp4", "2.mp4"])
    with pytest.raises(KrespError, match=r"has 2 videos but no class folders: expected .*/CLASS/VIDEO"):
        read_tree(tmp_path, find_videos(tmp_path))


def test_a_folder_without_videos_gives_none(tmp_path: Path) -> None:
    touch(tmp_path, ["run/1.txt"])
    assert find_videos(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "expected"), [("a/b.avi", "b"), ("b.MP4", "b"), ("www.site.com_run", "www.site.com_run"), ("b", "b")]
)
def test_only_endings_of_videos_are_cut(name: str, expected: str) -> None:
    assert stem(name) == expected

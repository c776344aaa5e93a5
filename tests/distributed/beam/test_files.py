from __future__ import annotations

import pytest

from kresp3d.distributed.beam.files import fetched, is_video, match
from kresp3d.system.errors import KrespError, VideoError


def test_files_are_matched_in_order(tmp_path):
    for name in ("b/2.mp4", "a/1.mp4", "a/deep/3.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1234")
    found = match([f"{tmp_path}/**"])
    assert [each.path for each in found] == [str(tmp_path / name) for name in ("a/1.mp4", "a/deep/3.mp4", "b/2.mp4")]
    assert {each.size for each in found} == {4} and all(each.changed > 0 for each in found)
    assert [each.path for each in match([f"{tmp_path}/*/?.mp4"])] == [found[0].path, found[2].path]


def test_a_pattern_that_nothing_matches_is_named(tmp_path):
    with pytest.raises(KrespError, match=r"no file matches .*\*\.avi"):
        match([f"{tmp_path}/*.avi"])


def test_a_file_system_that_is_none_is_named():
    with pytest.raises(KrespError, match=r"nope://a/\* cannot be listed"):
        match(["nope://a/*"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [("s3://a/b.mp4", True), ("b.AVI", True), ("a/.b.mp4", False), ("b.txt", False)],
)
def test_videos_are_known_by_their_names(path, expected):
    assert is_video(path) is expected


def test_a_file_of_this_machine_is_not_copied(tmp_path):
    with fetched(str(tmp_path / "a.mp4")) as path:
        assert path == tmp_path / "a.mp4"


class Lake:
    """In place of Beam's file systems: one that knows no file, or that fails."""

    def __init__(self, error=None):
        self.error = error

    def exists(self, path):
        return self.error is not None

    def open(self, path, compression_type):
        raise self.error


def test_a_file_that_is_gone_is_a_bad_video_and_a_store_that_fails_is_not(monkeypatch):
    monkeypatch.setattr("apache_beam.io.filesystems.FileSystems", Lake())
    with pytest.raises(VideoError, match="is no longer there"), fetched("s3://a/b.mp4"):
        pass
    monkeypatch.setattr("apache_beam.io.filesystems.FileSystems", Lake(OSError("503 Slow Down")))
    with pytest.raises(OSError, match="503"), fetched("s3://a/b.mp4"):
        pass

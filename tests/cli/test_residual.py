"""`kresp3d residual`."""

from __future__ import annotations

import av
import pytest
from PIL import Image

from kresp3d.cli.main import main


@pytest.fixture
def video(make_video, tmp_path):
    return make_video(tmp_path / "a $b.mp4", 30, fps=30)


def test_writes_a_sheet_or_a_video_and_says_where(video, tmp_path, capsys):
    sheet, moving = tmp_path / "sheet.PNG", tmp_path / "out.mp4"
    assert main(["residual", str(video), "--out", str(sheet), "--step", "1", "--step", "4", "--frames", "3"]) == 0
    assert capsys.readouterr().out == f"{sheet}\n"
    assert Image.open(sheet).format == "PNG"
    assert main(["residual", str(video), "--out", str(moving), "--fps", "10", "--short-side", "32"]) == 0
    with av.open(str(moving)) as file:
        assert len(list(file.decode(video=0))) == 9 and float(file.streams.video[0].average_rate) == 10


def test_an_existing_file_is_replaced_only_where_asked_for(video, tmp_path, capsys):
    out = tmp_path / "out.png"
    out.write_bytes(b"mine")
    assert main(["residual", str(video), "--out", str(out)]) == 1
    assert f"{out} is there already; use --overwrite" in capsys.readouterr().err and out.read_bytes() == b"mine"
    assert main(["residual", str(video), "--out", str(out), "--overwrite"]) == 0
    assert Image.open(out).format == "PNG"


def test_the_video_itself_is_never_replaced(video, tmp_path, capsys):
    content = video.read_bytes()
    link = tmp_path / "link.mp4"
    link.symlink_to(video)
    for out in (video, link):
        assert main(["residual", str(video), "--out", str(out), "--overwrite"]) == 2
        assert "is the video itself" in capsys.readouterr().err and video.read_bytes() == content


def test_a_folder_that_takes_no_files_is_found_out_before_the_work(video, capsys):
    assert main(["residual", str(video), "--out", "/proc/out.png"]) == 1
    assert "cannot write into /proc" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.gif", "out", "out.mp4.part"])
def test_another_ending_is_refused(video, tmp_path, capsys, name):
    assert main(["residual", str(video), "--out", str(tmp_path / name)]) == 2
    assert "expected a name ending in .png or .mp4" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["png", "mp4"])
def test_a_broken_video_is_named_and_leaves_no_file(video, tmp_path, capsys, ending):
    video.write_bytes(video.read_bytes()[:-2000])
    out = tmp_path / f"out.{ending}"
    assert main(["residual", str(video), "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert str(video) in error and "Traceback" not in error and "unexpected" not in error
    assert list(tmp_path.iterdir()) == [video]


def test_a_missing_folder_is_named_before_the_work(tmp_path, capsys):
    assert main(["residual", str(tmp_path / "no.mp4"), "--out", str(tmp_path / "no" / "out.png")]) == 1
    assert f"there is no folder {tmp_path / 'no'}" in capsys.readouterr().err

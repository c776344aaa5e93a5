"""`kresp3d explain`."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
import yaml
from PIL import Image

from kresp3d.cli.main import main


@pytest.fixture
def video(trained_run):
    """A video that the run was trained on."""
    videos = Path(yaml.safe_load((trained_run / "config.yaml").read_text())["data"]["videos"])
    return sorted(videos.rglob("*.mp4"))[0]


def test_a_trained_run_is_explained_as_a_sheet_and_as_a_video(trained_run, video, tmp_path, capsys):
    sheet, moving = tmp_path / "sheet.png", tmp_path / "out.mp4"
    capsys.readouterr()
    assert main(["explain", str(trained_run), str(video), "--out", str(sheet), "--clips", "3"]) == 0
    assert capsys.readouterr().out == f"{sheet}\n"
    assert Image.open(sheet).format == "PNG"
    assert main(["explain", str(trained_run), str(video), "--out", str(moving), "--class", "walk"]) == 0
    with av.open(str(moving)) as file:
        assert len(list(file.decode(video=0))) == 16
        assert file.streams.video[0].codec_context.name == "h264"
    assert sorted(tmp_path.iterdir()) == [moving, sheet]


def test_mistakes_get_a_sentence_and_leave_no_file(trained_run, video, tmp_path, capsys):
    out = tmp_path / "out.mp4"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 50)
    exported = tmp_path / "net.onnx"
    exported.write_bytes(b"")
    cases = [
        ([trained_run, video, "--out", tmp_path / "out.gif"], 2, "expected a name ending in .png or .mp4"),
        ([trained_run, video, "--out", broken], 1, "is there already; use --overwrite"),
        ([exported, video, "--out", out], 1, "is no run folder; expected one made by `kresp3d train`"),
        ([tmp_path / "none", video, "--out", out], 1, "is no run folder"),
        ([trained_run, video, "--out", out, "--class", "wakl"], 2, "did you mean 'walk'?"),
        ([trained_run, broken, "--out", out], 1, "broken.mp4: not a video"),
        ([trained_run, tmp_path / "no.mp4", "--out", out], 1, "no.mp4: file not found"),
        ([trained_run, video, "--out", out, "--clips", "0"], 2, "--clips"),
    ]
    for arguments, code, sentence in cases:
        assert main(["explain", *map(str, arguments)]) == code, sentence
        error = capsys.readouterr().err
        assert sentence in error and "Traceback" not in error and "unexpected" not in error
    assert sorted(tmp_path.iterdir()) == [broken, exported]

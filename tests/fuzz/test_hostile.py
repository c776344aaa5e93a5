"""Hostile videos through every command that decodes: a line for each, no crash, no hang, little memory."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hostile import Hostile, make_hostile
from measure import frames_and_memory

from kresp3d.cli.main import main
from kresp3d.config.schema import DataConfig
from kresp3d.datasets.inspect import check
from kresp3d.datasets.readers.folder_tree import find_videos
from kresp3d.explain.drawing import explain_video
from kresp3d.explain.explanation import Explainer, open_run
from kresp3d.system.errors import VideoError
from kresp3d.system.text import printable, utf8
from kresp3d.video.workers import DecoderProcess, map_videos

pytestmark = pytest.mark.once

#: Seconds that one file may take.
TIME_LIMIT = 20
#: Bytes that a process may have which decodes them all; a picture of 8K has 35 million pixels.
MEMORY = 800 * 2**20
#: And one that hands them out and has TensorFlow.
MAIN_MEMORY = 1200 * 2**20

#: Runs a command, and says how much memory it and its workers had at most, in KiB.
MEASURED = """
import resource, sys
from kresp3d.cli.main import main

code = main(sys.argv[1:])
# What getrusage says of this process counts its parent's memory in.
[own] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def run_measured(words: list[str], code: int) -> tuple[str, str]:
    """What a command prints in a process of its own, which must end with `code` and keep to its memory."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", MEASURED, *words]
    done = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    assert done.returncode == code, done.stderr[-2000:]
    *_, own, workers = done.stderr.split()
    assert int(own) < MAIN_MEMORY >> 10 and int(workers) < MEMORY >> 10, (own, workers)
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def hostile(root: Path, make_video) -> list[Hostile]:
    return make_hostile(root, make_video)


@pytest.fixture(scope="module")
def decoded(hostile: list[Hostile]) -> dict[Path, int | VideoError]:
    """Frames, or the error, of each file."""
    results = list(map_videos(frames_and_memory, [file.path for file in hostile], 2, time_limit=TIME_LIMIT))
    memory = [result[1] for result in results if not isinstance(result, VideoError)]
    assert max(memory) < MEMORY, f"{max(memory) / 2**20:.0f} MiB"
    found = [result if isinstance(result, VideoError) else result[0] for result in results]
    return {file.path: result for file, result in zip(hostile, found, strict=True)}


def test_there_are_many_of_every_kind(hostile: list[Hostile], capsys: pytest.CaptureFixture[str]) -> None:
    kinds = Counter(file.kind for file in hostile)
    with capsys.disabled():
        print(f"\n{len(hostile)} hostile files: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}")
    assert len({file.path for file in hostile}) == len(hostile) >= 200
    assert min(kinds.values()) >= 4


def test_each_decodes_or_has_a_reason(hostile: list[Hostile], decoded: dict[Path, int | VideoError]) -> None:
    for file in hostile:
        result = decoded[file.path]
        if isinstance(result, VideoError):
            assert not file.good, result
            assert result.reason and result.reason.isprintable()
            # A decoder that died or hung is no answer.
            assert "crashed" not in result.reason and "longer" not in result.reason, result
        else:
            assert file.good is not False, f"{file.path} has {result} frames"
            assert result > 0


def test_check_and_prepare_report_each(
    root: Path, hostile: list[Hostile], decoded: dict[Path, int | VideoError], tmp_path: Path, capfd
) -> None:
    listed = [root / path for path in find_videos(root) if path.parts[0] != "good"]
    assert len(listed) > 0.9 * len(hostile)
    bad = {printable(path.relative_to(root).as_posix()) for path in listed if isinstance(decoded[path], VideoError)}

    data = {"videos": str(root), "records": str(tmp_path / "records"), "max_bad": 0.99, "time_limit": TIME_LIMIT}
    found, total = check(DataConfig(**data))
    assert total == len(listed) + len(list((root / "good").iterdir()))
    assert {video.name for video in found} == bad

    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"data": data}))
    report = tmp_path / "report.csv"
    assert main(["data", "check", "--config", str(config), "--report", str(report)]) == 0
    out, err = run_measured(["data", "prepare", "--config", str(config)], 0)
    assert "\x1b" not in out + err
    for path in (report, tmp_path / "records" / "prepare-report.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            assert {row["name"] for row in csv.DictReader(file)} == bad
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err


def _is_there(path: Path) -> bool:
    try:
        return path.is_symlink() or path.exists()
    except OSError:  # a name that is too long
        return False


def test_predict_answers_each(decoded: dict[Path, int | VideoError], trained_run: Path, tmp_path: Path) -> None:
    # One that does not exist is the caller's mistake, and a folder stands for the videos in it.
    paths = [path for path in decoded if _is_there(path) and not path.is_dir()]
    scores = tmp_path / "scores.json"
    words = ["predict", str(trained_run), *map(str, paths), "--json", str(scores), "--time-limit", str(TIME_LIMIT)]
    out, err = run_measured(words, 1)
    rows = json.loads(scores.read_text(encoding="utf-8"))
    assert [row["path"] for row in rows] == [utf8(path) for path in paths]
    for path, row in zip(paths, rows, strict=True):
        assert ("error" in row) == isinstance(decoded[path], VideoError), row
    assert len(out.splitlines()) == sum("top" in row for row in rows)
    assert "\x1b" not in out + err


def test_explain_draws_or_says_why_not(
    hostile: list[Hostile], decoded: dict[Path, int | VideoError], trained_run: Path, tmp_path: Path
) -> None:
    # One that decodes of each kind, and all that do not; drawing all takes minutes, and EXPLAIN_ALL=1.
    chosen = {file.kind: file for file in hostile if not isinstance(decoded[file.path], VideoError)}
    if not os.environ.get("EXPLAIN_ALL"):
        hostile = [file for file in hostile if file in chosen.values() or isinstance(decoded[file.path], VideoError)]
    explainer = Explainer(open_run(trained_run))
    with DecoderProcess(time_limit=TIME_LIMIT) as decode:
        for number, file in enumerate(hostile):
            out = tmp_path / f"{number}.png"
            error = decoded[file.path]
            if isinstance(error, VideoError):
                with pytest.raises(VideoError) as caught:
                    explain_video(explainer, file.path, out, progress=lambda *_: None, decode=decode)
                assert caught.value.reason == error.reason
                assert not out.exists()
            else:
                explain_video(explainer, file.path, out, progress=lambda *_: None, decode=decode)
                assert out.stat().st_size > 10_000


def test_the_command_that_explains_ends_with_the_reason(hostile: list[Hostile], trained_run: Path, tmp_path, capfd):
    file = next(file for file in hostile if file.path.name == "empty.mp4")
    assert main(["explain", str(trained_run), "--out", str(tmp_path / "out.png"), str(file.path)]) == 1
    assert f"Error: {file.path}: the file is empty" in capfd.readouterr().err

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kresp3d.system.errors import VideoError
from kresp3d.video import workers
from kresp3d.video.workers import DecoderProcess, decode_here, map_videos

# The worker processes import the function by its module's name, which a test's module has not.
FUNCTION = """
import os, signal, time
from kresp3d.system.errors import VideoError

def work(path):
    if path.name == "bad":
        raise VideoError(path, "no good")
    if path.name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.name == "sleep":
        print("asleep", flush=True)
        time.sleep(60)
    if path.name == "fill":
        bytearray(2**30)
    return path.name.upper()

def letters(path):
    for letter in path.name:
        if letter == "!":
            os.kill(os.getpid(), signal.SIGSEGV)
        yield letter
"""


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


def work_in(tmp_path, monkeypatch):
    (tmp_path / "worker_functions.py").write_text(FUNCTION)
    monkeypatch.syspath_prepend(str(tmp_path))
    import worker_functions

    return worker_functions.work


def test_results_come_in_order_and_errors_and_crashes_belong_to_their_video(tmp_path, monkeypatch):
    work = work_in(tmp_path, monkeypatch)
    names = ["a", "b", "bad", "c", "crash", "d", "e", "f", "g"]
    results = list(map_videos(work, paths(*names), 2))
    by_name = dict(zip(names, results, strict=True))
    assert isinstance(by_name["bad"], VideoError)
    assert by_name["bad"].reason == "no good"
    assert isinstance(by_name["crash"], VideoError)
    assert "crashed" in by_name["crash"].reason
    assert [by_name[name] for name in "abcdefg"] == list("ABCDEFG")


def test_a_video_that_takes_too_long_or_too_much_is_named_and_the_others_are_done(tmp_path, monkeypatch):
    work = work_in(tmp_path, monkeypatch)
    monkeypatch.setattr(workers, "MEMORY", 2**30)
    names = ["a", "sleep", "b", "fill", "c"]
    results = dict(zip(names, map_videos(work, paths(*names), 2, time_limit=3), strict=True))
    assert results["sleep"].reason == "took longer than 3 s to decode"
    assert results["fill"].reason == "takes more than 1 GiB of memory to decode"
    assert [results[name] for name in "abc"] == list("ABC")


def test_work_that_is_no_more_wanted_is_ended(tmp_path, monkeypatch):
    work = work_in(tmp_path, monkeypatch)
    results = map_videos(work, paths("a", "sleep", "sleep", "sleep"), 2)
    assert next(results) == "A"
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 10


def test_a_decoder_gives_what_decoding_here_gives_and_outlives_a_crash(tmp_path, monkeypatch):
    work_in(tmp_path, monkeypatch)
    from worker_functions import letters

    with DecoderProcess(imports=["worker_functions"]) as decode:
        assert list(decode(letters, Path("abc"))) == list(decode_here(letters, Path("abc"))) == ["a", "b", "c"]
        got = []
        with pytest.raises(VideoError, match="the decoder crashed"):
            for letter in decode(letters, Path("ab!")):
                got.append(letter)
        assert got == ["a", "b"]
        assert list(decode(letters, Path("d"))) == ["d"]


def test_no_videos_give_no_results(tmp_path, monkeypatch):
    assert list(map_videos(work_in(tmp_path, monkeypatch), [], 2)) == []


def test_workers_end_when_their_parent_is_killed(tmp_path, monkeypatch):
    work_in(tmp_path, monkeypatch)
    script = tmp_path / "main.py"
    script.write_text(
        "from pathlib import Path\n"
        "from worker_functions import work\n"
        "from kresp3d.video.workers import map_videos\n"
        "if __name__ == '__main__':\n"
        "    list(map_videos(work, [Path('sleep')], 1))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    process = subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "asleep\n"
    process.send_signal(signal.SIGKILL)
    # The pipe closes when its last holder has ended.
    start = time.monotonic()
    assert process.stdout.read() == ""
    assert time.monotonic() - start < 20
    process.wait()

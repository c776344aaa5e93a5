import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from kresp3d.data.catalog import Video
from kresp3d.data.workers import map_videos
from kresp3d.errors import VideoError

# The worker processes import the function by its module's name, which a test's module has not.
FUNCTION = """
import os, signal, time
from kresp3d.errors import VideoError

def work(path):
    if path.name == "bad":
        raise VideoError(path, "no good")
    if path.name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.name == "sleep":
        print("asleep", flush=True)
        time.sleep(60)
    return path.name.upper()
"""


def videos(*names: str) -> list[Video]:
    return [Video(path=Path(name), name=name, label="a", group=None, split="train") for name in names]


def work_in(tmp_path, monkeypatch):
    (tmp_path / "worker_functions.py").write_text(FUNCTION)
    monkeypatch.syspath_prepend(str(tmp_path))
    import worker_functions

    return worker_functions.work


def test_results_come_in_order_and_errors_and_crashes_belong_to_their_video(tmp_path, monkeypatch):
    work = work_in(tmp_path, monkeypatch)
    names = ["a", "b", "bad", "c", "crash", "d", "e", "f", "g"]
    results = [(video.name, result) for video, result in map_videos(work, videos(*names), 2)]
    assert [name for name, _ in results] == names
    by_name = dict(results)
    assert isinstance(by_name["bad"], VideoError)
    assert by_name["bad"].reason == "no good"
    assert isinstance(by_name["crash"], VideoError)
    assert "crashed" in by_name["crash"].reason
    assert [by_name[name] for name in "abcdefg"] == list("ABCDEFG")


def test_no_videos_give_no_results(tmp_path, monkeypatch):
    assert list(map_videos(work_in(tmp_path, monkeypatch), [], 2)) == []


def test_workers_end_when_their_parent_is_killed(tmp_path, monkeypatch):
    work_in(tmp_path, monkeypatch)
    script = tmp_path / "main.py"
    script.write_text(
        "from pathlib import Path\n"
        "from worker_functions import work\n"
        "from kresp3d.data.catalog import Video\n"
        "from kresp3d.data.workers import map_videos\n"
        "if __name__ == '__main__':\n"
        "    video = Video(path=Path('sleep'), name='sleep', label='a', group=None, split='train')\n"
        "    list(map_videos(work, [video], 1))\n"
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

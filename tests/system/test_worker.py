"""A worker process that crashes, hangs or fills its memory."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest

from kresp3d.system.errors import KrespError, VideoError
from kresp3d.system.worker import Team, Worker, WorkerDiedError, WorkerTimeoutError

# The worker imports functions by their module's name, which a test's module has not.
FUNCTIONS = """
import os, signal, sys, time
from kresp3d.system.errors import VideoError

def process():
    return os.getpid()

def crash():
    os.kill(os.getpid(), signal.SIGSEGV)

def import_path():
    return sys.path

def sleep(seconds):
    time.sleep(seconds)
    return "slept"

def fail(what):
    raise what

def fill(size):
    return len(bytearray(size))

def count(end, crash_at=None):
    for number in range(end):
        if number == crash_at:
            crash()
        yield number

def count_and_fail(end):
    yield from range(end)
    raise VideoError("a.mp4", "cut off")

class Closed(Exception):
    def __init__(self, one, two):
        super().__init__(one)

def unpicklable():
    raise Closed("one", "two")
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    (tmp_path / "functions_of_a_worker.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import functions_of_a_worker

    return functions_of_a_worker


@pytest.fixture
def worker(functions):
    with Worker() as worker:
        yield worker


def test_it_is_another_process_and_stays_the_same(worker, functions):
    first = worker.run(functions.process)
    assert first != os.getpid()
    assert worker.run(functions.process) == first


def test_errors_come_back_with_what_they_hold_and_leave_it_alive(worker, functions):
    process = worker.run(functions.process)
    with pytest.raises(VideoError, match="no good") as caught:
        worker.run(functions.fail, VideoError("a.mp4", "no good"))
    assert (caught.value.path, caught.value.reason) == ("a.mp4", "no good")
    with pytest.raises(ZeroDivisionError) as caught:
        worker.run(functions.fail, ZeroDivisionError("by 0"))
    assert "in fail" in caught.value.__notes__[0], "the traceback of the worker is shown"
    with pytest.raises(RuntimeError, match="Closed: one"):
        worker.run(functions.unpicklable)
    assert worker.run(functions.process) == process


def test_a_function_that_the_worker_cannot_import_is_an_error_of_its_own(worker, functions, tmp_path):
    # It is sought when it is needed, which the worker has not done so far.
    (tmp_path / "functions_of_a_worker.py").unlink()
    with pytest.raises(ModuleNotFoundError):
        worker.run(functions.process)


def test_after_a_crash_there_is_another(worker, functions):
    process = worker.run(functions.process)
    with pytest.raises(WorkerDiedError, match="SIGSEGV"):
        worker.run(functions.crash)
    assert worker.run(functions.process) != process


def test_after_too_long_there_is_another(worker, functions):
    process = worker.run(functions.process)
    begin = time.monotonic()
    with pytest.raises(WorkerTimeoutError):
        worker.run(functions.sleep, 60, time_limit=0.2)
    assert time.monotonic() - begin < 10
    assert worker.run(functions.sleep, 0, time_limit=10) == "slept"
    assert worker.run(functions.process) != process
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_memory_is_limited(functions):
    with Worker(memory=2**30) as worker:
        assert worker.run(functions.fill, 2**20) == 2**20
        with pytest.raises(MemoryError):
            worker.run(functions.fill, 2**30)
        assert worker.run(functions.fill, 2**20) == 2**20


def test_a_stream_gives_items_as_they_come(worker, functions):
    assert list(worker.stream(functions.count, 1000)) == list(range(1000))
    assert worker.run(functions.fill, 1) == 1


def test_a_stream_that_is_not_read_to_its_end_leaves_a_fresh_worker(worker, functions):
    stream = worker.stream(functions.count, 10**9)
    assert [next(stream), next(stream)] == [0, 1]
    stream.close()
    assert list(worker.stream(functions.count, 3)) == [0, 1, 2]


def test_an_interrupted_call_leaves_no_answer_behind(worker, functions):
    worker.run(functions.process)
    # Ignored, if these tests run in a script's background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            worker.run(functions.sleep, 1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert worker.run(functions.fill, 7) == 7
    assert list(worker.stream(functions.count, 3)) == [0, 1, 2]


def test_an_error_of_a_stream_comes_after_its_items_and_leaves_the_worker_alive(worker, functions):
    process = worker.run(functions.process)
    stream = worker.stream(functions.count_and_fail, 2)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(VideoError, match="cut off"):
        next(stream)
    assert worker.run(functions.process) == process


def test_a_stream_ends_with_its_worker(worker, functions):
    found = []
    with pytest.raises(WorkerDiedError):
        for number in worker.stream(functions.count, 10, 3):
            found.append(number)
    assert found == [0, 1, 2]


def test_only_the_wait_counts_for_a_streams_time(worker, functions):
    found = []
    for number in worker.stream(functions.count, 5, time_limit=5):
        # The first item has been waited for, so that the worker has started.
        time.sleep(1.5)
        found.append(number)
    assert found == list(range(5))
    with pytest.raises(WorkerTimeoutError):
        list(worker.stream(functions.sleep, 60, time_limit=0.2))


def test_another_thread_ends_it_for_good(worker, functions):
    worker.run(functions.process)
    threading.Timer(0.3, worker.end).start()
    with pytest.raises(WorkerDiedError):
        worker.run(functions.sleep, 60)
    with pytest.raises(WorkerDiedError):
        worker.run(functions.process)


def test_where_no_process_can_be_started_a_sentence_says_so_and_later_one_can(worker, functions, monkeypatch):
    process = worker.run(functions.process)
    with pytest.raises(WorkerDiedError):
        worker.run(functions.crash)
    # What the system says when there are too many, with which it cannot be provoked as root.
    no_more = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", Mock(side_effect=no_more))
        for _ in range(2):
            with pytest.raises(KrespError, match=r"cannot be started \(Resource temporarily unavailable\)"):
                worker.run(functions.process, time_limit=60)
        worker.end()
        worker.close()
    with Worker() as another:
        assert another.run(functions.process) != process


def test_no_open_files_left_is_a_sentence(functions, monkeypatch):
    monkeypatch.setattr("multiprocessing.Pipe", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
    with pytest.raises(KrespError, match=r"cannot be started \(Too many open files\)"):
        Worker()


def test_a_script_without_a_guard_is_not_run_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from kresp3d.system.worker import Worker\nprint(Worker().run(len, 'abc'))\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


def test_it_imports_from_where_this_process_does(tmp_path, functions):
    found = Worker().run(functions.import_path)
    assert found == sys.path and str(tmp_path) in found


def test_a_worker_that_cannot_begin_is_a_sentence():
    with pytest.raises(KrespError, match="ended while it was starting"):
        Worker(imports=["there_is_no_such_module"]).run(len, "abc")


def test_several_threads_share_a_team(functions):
    with Team(2) as team, ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda end: list(team.each(lambda worker, n: worker.run(abs, -n), range(end))), range(20))
        assert list(found) == [list(range(end)) for end in range(20)]


def test_a_team_reads_no_further_ahead_than_it_works(functions):
    numbers = iter(range(1000))
    with Team(1) as team:
        results = team.each(lambda worker, n: worker.run(abs, -n), numbers)
        assert next(results) == 0 and next(numbers) == 2

from __future__ import annotations

import json
import os
import socket
import time
import uuid

import pytest

from kresp3d.system import remote_lock as module
from kresp3d.system import stores
from kresp3d.system.errors import KrespError
from kresp3d.system.remote_lock import EXPIRY, remote_lock
from kresp3d.system.storage import RemotePath


class Store(RemotePath):
    """An object that is replaced at once, as in S3; TensorFlow's file system in memory appends."""

    def write_text(self, data, encoding=None, errors=None, newline=None):
        aside = RemotePath(f"{self}-{uuid.uuid4().hex}")
        size = aside.write_text(data)
        with self._store() as gfile:
            gfile.rename(str(aside), str(self), overwrite=True)
        return size


class InPlaceStore(Store):
    """An object that is empty while it is written again, as in HDFS."""

    def write_text(self, data, encoding=None, errors=None, newline=None):
        super().write_text("")
        time.sleep(0.005)
        return RemotePath(self).write_text(data)


@pytest.fixture
def file(monkeypatch):
    monkeypatch.setitem(stores._CHECKS, "ram", lambda authority: None)
    return Store(f"ram://{uuid.uuid4().hex}/.lock")


def hold(file, **values):
    held = {"id": "other", "host": "elsewhere", "machine": "m", "process": 7, "began": 5, "renewed": time.time()}
    file.write_text(json.dumps({**held, **values}))


def test_one_process_holds_it_and_lets_go(file):
    with remote_lock(file, "training in x; wait"):
        assert file.exists()
        found = pytest.raises(KrespError, match=r"another process is training in x; wait \(process \d+ on ")
        with found, remote_lock(file, "training in x; wait"):
            pass
        assert file.exists()
    assert not file.exists()


def test_it_is_let_go_after_an_error(file):
    with pytest.raises(ZeroDivisionError), remote_lock(file, "x"):
        raise ZeroDivisionError
    assert not file.exists()


def test_a_holder_of_another_host_counts_while_it_renews(file, monkeypatch):
    monkeypatch.setattr(module, "RENEWAL", 0.001)
    monkeypatch.setattr(module, "SETTLING", 0.1)
    # One of the same name, which names do not tell apart.
    hold(file, host=socket.gethostname(), process=os.getpid())
    with pytest.raises(KrespError, match="was there"), remote_lock(file, "x"):
        pass
    hold(file)
    with pytest.raises(KrespError, match="process 7 on elsewhere"), remote_lock(file, "x"):
        pass
    hold(file, renewed=time.time() - EXPIRY - 1)
    with remote_lock(file, "x"):
        assert json.loads(file.read_text())["process"] == os.getpid()


def test_a_holder_whose_clock_is_behind_is_given_time_to_renew(file, monkeypatch):
    hold(file, renewed=time.time() - 3600)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: hold(file, renewed=time.time() - 3590))
    with pytest.raises(KrespError, match="process 7 on elsewhere"), remote_lock(file, "x"):
        pass


@pytest.mark.parametrize("content", ["", '{"id": "other", "ho'])
def test_one_that_is_just_being_written_is_waited_for(file, monkeypatch, content):
    file.write_text(content)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: hold(file))
    with pytest.raises(KrespError, match="process 7 on elsewhere"), remote_lock(file, "x"):
        pass


def test_a_holder_that_is_just_renewing_when_it_is_looked_at_again_counts(file, monkeypatch):
    hold(file, renewed=time.time() - 3600)
    states = iter([lambda: file.write_text(""), lambda: hold(file, renewed=time.time() - 3590)])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: next(states)())
    with pytest.raises(KrespError, match="process 7 on elsewhere"), remote_lock(file, "x"):
        pass


def test_nobody_gets_in_while_it_is_renewed_in_place(file, monkeypatch):
    monkeypatch.setattr(module, "RENEWAL", 0.001)
    monkeypatch.setattr(module, "PAUSE", 0.001)
    with remote_lock(InPlaceStore(file), "x"):
        for _ in range(200):
            with pytest.raises(KrespError, match="another process is x"), remote_lock(file, "x"):
                pass


def test_a_holder_that_was_taken_for_gone_says_so_and_gives_way(file, monkeypatch, caplog):
    monkeypatch.setattr(module, "RENEWAL", 0.05)
    with remote_lock(file, "x"):
        hold(file)
        deadline = time.monotonic() + 10
        while "was taken over by process 7 on elsewhere" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert json.loads(file.read_text())["id"] == "other"


@pytest.mark.parametrize("number", ["none", "taken"])
def test_a_process_of_this_host_that_was_killed_is_gone_at_once(file, number):
    # The number that one had that began before is this process's now.
    hold(file, machine=module._machine(), process=os.getpid() if number == "taken" else 2**22 + 1, began=1)
    with remote_lock(file, "x"):
        pass


@pytest.mark.parametrize("content", ["", "{}", "[]", "nonsense", '{"renewed": null}'])
def test_what_stays_no_lock_holds_nobody_up(file, content, monkeypatch):
    monkeypatch.setattr(module, "SETTLING", 0.1)
    file.write_text(content)
    with remote_lock(file, "x"):
        pass


def test_it_is_renewed(file, monkeypatch):
    monkeypatch.setattr(module, "RENEWAL", 0.05)
    with remote_lock(file, "x"):
        first = module._read(file)["renewed"]
        deadline = time.monotonic() + 10
        while module._read(file)["renewed"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_store_that_fails_meanwhile_ends_nothing(file, monkeypatch):
    monkeypatch.setattr(module, "RENEWAL", 0.01)
    calls = []

    def fail(self, *arguments, **options):
        calls.append(self)
        raise OSError("gone")

    with remote_lock(file, "x"):
        monkeypatch.setattr(Store, "write_text", fail)
        monkeypatch.setattr(Store, "read_text", fail)
        deadline = time.monotonic() + 10
        while not calls:
            assert time.monotonic() < deadline
            time.sleep(0.01)

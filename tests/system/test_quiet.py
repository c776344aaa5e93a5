from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest

from kresp3d.system import quiet


@pytest.fixture(autouse=True)
def untouched_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in quiet.ENVIRONMENT:
        # Set before it is removed, so that it is restored even where it was not set.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(logging.getLogger("tensorflow"), "level", logging.WARNING)
    with warnings.catch_warnings():
        yield


def test_what_cpp_writes_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    quiet.quieten()
    with quiet.held_stderr():
        os.write(2, b"I0000 oneDNN custom operations are on\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_what_was_held_back_is_shown_when_an_error_follows(capfd: pytest.CaptureFixture[str]) -> None:
    quiet.quieten()
    with pytest.raises(ImportError), quiet.held_stderr():
        os.write(2, b"the reason\n")
        raise ImportError
    assert capfd.readouterr().err == "the reason\n"


@pytest.mark.parametrize("level", [None, "0"])
def test_nothing_is_held_back_where_messages_are_wanted(
    level: str | None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if level is not None:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
        quiet.quieten()
    with quiet.held_stderr():
        os.write(2, b"wanted\n")
    assert capfd.readouterr().err == "wanted\n"


def test_what_the_user_has_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    quiet.quieten()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "1"
    assert os.environ["GRPC_VERBOSITY"] == "ERROR"


def test_only_the_warnings_of_tensorflow_and_keras_are_ignored() -> None:
    warnings.simplefilter("always")
    quiet.quieten()
    with warnings.catch_warnings(record=True) as caught:
        for module in ("keras.src.layers", "tensorflow", "kresp3d.video.decode", "kerasish"):
            warnings.warn_explicit("x", UserWarning, f"{module}.py", 1, module=module)
    assert [str(warning.filename) for warning in caught] == ["kresp3d.video.decode.py", "kerasish.py"]


def test_tensorflow_comes_without_what_is_not_needed_which_can_be_imported_afterwards() -> None:
    program = """
import sys
from kresp3d.system.quiet import NOT_NEEDED, quieten
quieten()
import keras, tensorflow
print(sorted(set(NOT_NEEDED) & set(sys.modules)))
import matplotlib.pyplot, sklearn.base
print(keras.__name__, tensorflow.__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == ("[]\nkeras tensorflow\n", 0), done.stderr

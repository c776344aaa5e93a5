from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import click
import pytest

from kresp3d.cli import main as cli_main
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.version import described_version

Run = Callable[..., int]
HEAVY = ("tensorflow", "keras", "numpy", "pydantic", "av", "matplotlib", "rich")


@pytest.fixture(autouse=True)
def untouched_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("kresp3d.system.quiet.quieten", lambda: None)
    logger = logging.getLogger("kresp3d")
    before = (logger.level, logger.propagate, list(logger.handlers))
    yield
    logger.level, logger.propagate, logger.handlers = before
    logger.setLevel(before[0])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `kresp3d work ...` where `work` does as given."""

    def run(work: Callable[[], object], *words: str) -> int:
        @click.command("work")
        @click.argument("rest", nargs=-1)
        def command(rest: tuple[str, ...]) -> object:
            return work()

        module = ModuleType("kresp3d_test_work")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "kresp3d_test_work", module)
        monkeypatch.setattr(cli_main.cli, "lazy", {"work": ("kresp3d_test_work", "Work.")})
        return cli_main.main(["work", *words])

    return run


def raising(error: BaseException) -> Callable[[], object]:
    def work() -> object:
        raise error

    return work


def imported_by(words: list[str]) -> list[str]:
    """The heavy packages that a command line imports in a fresh process."""
    code = (
        "import json, sys; from kresp3d.cli.main import main; "
        f"code = main({words!r}); print(); print(json.dumps([code, [m for m in {HEAVY!r} if m in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    code_and_modules = json.loads(done.stdout.splitlines()[-1])
    assert code_and_modules[0] == 0, done.stderr
    modules: list[str] = code_and_modules[1]
    return modules


def test_help_imports_nothing_heavy() -> None:
    start = time.perf_counter()
    assert imported_by(["--help"]) == []
    print(f"kresp3d --help: {time.perf_counter() - start:.2f} s")


@pytest.mark.parametrize("name", cli_main.COMMANDS)
def test_the_help_of_a_command_imports_no_tensorflow(name: str) -> None:
    assert imported_by([name, "--help"]) == []


def test_help_lists_every_command_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_main.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, (_, line) in cli_main.COMMANDS.items():
        assert f"  {name} " in out
        assert line in out


def test_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_main.main([]) == 0
    assert capsys.readouterr().out.startswith("Usage: kresp3d")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"kresp3d, version {described_version()}\n"


@pytest.mark.parametrize(("word", "meant"), [("trian", "train"), ("eval", "evaluate"), ("docter", "doctor")])
def test_an_unknown_command_is_bad_usage_and_names_the_nearest(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli_main.main([word]) == 2
    assert f"there is no command '{word}'; did you mean '{meant}'?" in capsys.readouterr().err


def test_a_command_like_no_other_is_answered_with_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_main.main(["xyzzy"]) == 2
    assert ", ".join(cli_main.COMMANDS) in capsys.readouterr().err


def test_an_unknown_option_is_bad_usage(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: None, "--nothing") == 2
    assert "No such option" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(KrespError("no videos in x"), 1), (UsageError("no videos in x"), 2)])
def test_a_users_mistake_is_one_sentence_without_traceback(
    error: KrespError, code: int, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raising(error)) == code
    assert capsys.readouterr() == ("", "Error: no videos in x\n")


def test_an_unexpected_error_is_named_and_asks_for_a_report(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raising(RuntimeError("shape [2]\nsecond line"))) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "Error: unexpected RuntimeError: shape [2]"
    assert "--debug" in second
    assert "report" in second


@pytest.mark.parametrize("flags_after", [["--debug"], ["a", "--debug", "-v"]])
def test_debug_after_the_command_shows_the_traceback(
    flags_after: list[str], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raising(KrespError("no videos")), *flags_after) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("Error: no videos\n")


def test_debug_after_two_dashes_is_an_argument(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raising(KrespError("no videos")), "--", "--debug") == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "x", "runs/a"), "Error: runs/a: no space left"),
        (PermissionError(errno.EACCES, "x", "/etc/a"), "Error: /etc/a: permission denied"),
        (FileNotFoundError(errno.ENOENT, "x", "a.mp4"), "Error: a.mp4: no such file"),
        (OSError(errno.ENOSPC, "x"), "Error: no space left"),
    ],
)
def test_what_the_system_refuses_is_said_in_words(
    error: OSError, sentence: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raising(error)) == 1
    err = capsys.readouterr().err
    assert err.startswith(sentence)
    assert "unexpected" not in err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.exceptions.Abort()])
def test_an_interrupted_command_exits_with_130(
    error: BaseException, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raising(error)) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


@contextmanager
def slow_command(*ignored: signal.Signals) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a command of half a minute, begun by one that ignores some signals."""
    code = (
        "import sys, time, types, click; from kresp3d.cli import main as m; module = types.ModuleType('slow');"
        "module.command = click.Command('slow', callback=lambda: (print('ready', flush=True), time.sleep(30)));"
        "sys.modules['slow'] = module; m.cli.lazy = {'slow': ('slow', '')}; m.run()"
    )
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "slow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


@pytest.mark.parametrize("ignored", [(), (signal.SIGINT,)], ids=["heard", "ignored"])
def test_ctrl_c_in_a_running_command_exits_with_130_and_no_traceback(ignored: tuple[signal.Signals, ...]) -> None:
    with slow_command(*ignored) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.strip() == "Interrupted."


def test_the_end_of_a_terminal_does_not_end_what_nohup_began() -> None:
    with slow_command(signal.SIGHUP) as process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_a_sign_the_terminal_lacks_is_replaced() -> None:
    code = "from kresp3d.cli.main import main; main(['--version']); print('a\u2013b')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "a?b")


@pytest.mark.parametrize(("work", "code"), [(lambda: None, 0), (lambda: True, 0), (lambda: 7, 0)])
def test_what_a_command_returns_is_no_exit_code(work: Callable[[], object], code: int, run: Run) -> None:
    assert run(work) == code


def test_a_command_exits_with_the_code_it_asks_for(run: Run) -> None:
    assert run(lambda: click.get_current_context().exit(3)) == 3


def test_a_closed_pipe_is_silent() -> None:
    shell = f"set -o pipefail; {sys.executable} -m kresp3d.cli.main --help | true"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize(("words", "shown"), [((), ["kept"]), (("-v",), ["detail", "kept"])])
def test_verbose_shows_the_debug_log(
    words: tuple[str, ...], shown: list[str], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        logging.getLogger("kresp3d.video").debug("detail")
        logging.getLogger("kresp3d.video").info("kept")

    assert run(work, *words) == 0
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == shown

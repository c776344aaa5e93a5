"""`kresp3d`: the group of commands, and how errors reach a person."""

from __future__ import annotations

import errno
import importlib
import io
import logging
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import NoReturn

import click

from kresp3d.system.ending import end
from kresp3d.system.errors import KrespError
from kresp3d.system.storage import is_remote, reason
from kresp3d.system.version import described_version

#: Command -> (module that has it as `command`, its line in the help). Modules are imported when the command is used.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("kresp3d.cli.init", "Write a first configuration for your own videos."),
    "suggest": ("kresp3d.cli.suggest", "Say how videos would be trained, and what would help."),
    "train": ("kresp3d.cli.train", "Train a network on videos."),
    "tune": ("kresp3d.cli.tune", "Try values of chosen keys, and keep the best."),
    "reproduce": ("kresp3d.cli.reproduce", "Run the paper's experiments, and judge its claims."),
    "crossval": ("kresp3d.cli.crossval", "Measure by cross-validation, where videos are few."),
    "evaluate": ("kresp3d.cli.evaluate", "Measure a trained network."),
    "predict": ("kresp3d.cli.predict", "Name the actions in videos."),
    "explain": ("kresp3d.cli.explain", "Show what a trained network looks at in a video."),
    "residual": ("kresp3d.cli.residual", "Show a video's residual frames."),
    "compress": ("kresp3d.cli.compress", "Prune, cluster or quantise a trained network, and train it on."),
    "export": ("kresp3d.cli.export", "Write the network for TF Serving, phones, OpenVINO and ONNX."),
    "bench": ("kresp3d.cli.bench", "Time networks, trained and exported."),
    "profile": ("kresp3d.cli.profile", "Count a network's parameters and multiply-adds."),
    "data": ("kresp3d.cli.data", "Render, prepare, check and look at videos."),
    "config": ("kresp3d.cli.config", "List, show and copy the configurations that come with kresp3d."),
    "doctor": ("kresp3d.cli.doctor", "Say what works on this machine, and what to do about the rest."),
}

#: Flags of the group that are also taken after the name of a command, where one adds them to a line that failed.
GLOBAL_FLAGS = ("--debug", "--verbose", "-v")

_SYSTEM_ERRORS = {
    errno.ENOSPC: "no space left on the disk; free some, or write to another one",
    errno.EDQUOT: "the disk quota is used up; free some space, or write to another disk",
    errno.EACCES: "permission denied; check who owns it and its mode",
    errno.EPERM: "operation not permitted; check who owns it and its mode",
    errno.EROFS: "the file system is read-only; write to another one",
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "expected a file, found a folder",
    errno.ENOTDIR: "expected a folder, found a file",
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is used.

    Args:
        lazy: Command -> (module that has it as `command`, its line in the help).
        **attributes: As for `click.Group`.
    """

    def __init__(self, *, lazy: Mapping[str, tuple[str, str]], **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order of the work."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; `None` where there is none of that name."""
        if cmd_name not in self.lazy:
            return None
        module = importlib.import_module(self.lazy[cmd_name][0])
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a line, or name the one that was probably meant."""
        name = args[0]
        if name not in self.lazy and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, self.lazy, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"expected one of: {', '.join(self.lazy)}."
            raise click.UsageError(f"there is no command '{name}'; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> None:
        """Run the command of a line; what it returns is dropped, since click would take a number for an exit code."""
        super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.lazy.items()])


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"kresp3d, version {described_version()}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks and TensorFlow's own messages.")
@click.option("--verbose", "-v", is_flag=True, help="Say more about what is done.")
@click.pass_context
def cli(ctx: click.Context, debug: bool, verbose: bool) -> None:
    """Recognise human actions in video: train, measure and use a pseudo-3D network.

    `kresp3d COMMAND --help` explains a command.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        return
    _set_up_logging(verbose=verbose or debug)
    if not debug:
        from kresp3d.system.quiet import quieten

        quieten()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and say in one sentence what went wrong, if anything did.

    Args:
        arguments: The words after `kresp3d`; by default those of this process.

    Returns:
        The exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted.
    """
    # A file name or a sign that the terminal's encoding lacks is shown as "?", and ends nothing.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    words = _flags_first(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words[: _count_flags(words)]
    try:
        code = cli.main(words, prog_name="kresp3d", standalone_mode=False)
    except click.exceptions.Abort:
        # Click's name for Ctrl-C and for a question that got no answer.
        return _fail("Interrupted.", 130)
    except KeyboardInterrupt:
        return _fail("Interrupted.", 130)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _fail(f"Error: {describe(error)}", error.exit_code if isinstance(error, KrespError) else 1)
    return code or 0


def run() -> NoReturn:
    """Run the command line of this process, and end it with the exit code."""
    # A shell script starts what it ends with `&` deaf to SIGINT, and so are the trainings that such a process starts;
    # `kill -INT` and the end of a sweep are to interrupt them. That `nohup` has SIGHUP ignored stays.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end(main())


def describe(error: Exception) -> str:
    """Put an error into one line for a person: the sentence of ours, what the system said, or a request to report."""
    if isinstance(error, KrespError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _SYSTEM_ERRORS:
        where = f"{error.filename}: " if error.filename is not None else ""
        return where + _SYSTEM_ERRORS[error.errno]
    if isinstance(error, OSError) and error.filename is not None and is_remote(str(error.filename)):
        return f"{error.filename} cannot be used ({reason(error)}); check the store and the network, then try again"
    lines = str(error).strip().splitlines()
    message = f": {lines[0].strip()[:400]}" if lines else ""
    return (
        f"unexpected {type(error).__name__}{message}\nRun again with --debug for the traceback, and please report it."
    )


def _fail(sentence: str, code: int) -> int:
    click.echo(sentence, err=True)
    return code


def _flags_first(arguments: Sequence[str]) -> list[str]:
    """Move the global flags of a command line before its command; words after `--` stay where they are."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    flags = [word for word in words[:end] if word in GLOBAL_FLAGS]
    return flags + [word for word in words[:end] if word not in GLOBAL_FLAGS] + words[end:]


def _count_flags(words: Sequence[str]) -> int:
    return next((index for index, word in enumerate(words) if word not in GLOBAL_FLAGS), len(words))


def _set_up_logging(*, verbose: bool) -> None:
    """Send the log of `kresp3d` to stderr: coloured on a terminal, plain lines elsewhere."""
    logger = logging.getLogger("kresp3d")
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    handler: logging.Handler
    if sys.stderr.isatty():
        from rich.logging import RichHandler

        from kresp3d.ui.console import plain_console

        handler = RichHandler(console=plain_console(stderr=True), show_time=False, show_path=False, markup=False)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.handlers = [handler]


if __name__ == "__main__":
    run()

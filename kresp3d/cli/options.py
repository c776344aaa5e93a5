"""Options that several commands share."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.storage import RemotePath, is_remote, local, location

Function = Callable[..., Any]


class _Place(click.Path):
    """A path that a function makes of the text."""

    def __init__(self, make: Callable[[str], Path], *, dir_okay: bool = True) -> None:
        super().__init__(dir_okay=dir_okay)
        self._make = make

    def coerce_path_result(self, value: str | os.PathLike[str]) -> Any:
        return self._make(os.fspath(value))


#: A path of this machine, or in an object store.
ANYWHERE = _Place(location)
#: The same, of a file.
FILE = _Place(location, dir_okay=False)
#: A path of this machine.
HERE = _Place(local)

precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Of the computation, for run folders and OpenVINO files; bfloat16 is faster where the machine has it.",
)


override_option = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override one key of the configuration, such as training.epochs=20. May be repeated.",
)


def json_option(help: str) -> Callable[[Function], Function]:
    """`--json FILE`, passed as `json_file`: a file that can be written, which is found out before the work."""
    return click.option(
        "--json",
        "json_file",
        type=FILE,
        metavar="FILE",
        callback=_check_place,
        help=help,
    )


def _check_place(context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _try_place(path)
        except OSError as error:
            reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
            raise click.BadParameter(f"cannot write into {path.parent} ({reason}); name a file elsewhere") from None
    return path


def _try_place(path: Path) -> None:
    """Find out whether a file can be written; its folder is there."""
    if isinstance(path, RemotePath):
        # A store that cannot be used says so itself. Others would see what was written to try.
        path.exists()
        return
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def check_output(path: Path, overwrite: bool, source: Path | None = None) -> None:
    """Make sure that a file may be written.

    Args:
        path: The file.
        overwrite: Whether it may be there already.
        source: What it is made from, which it never replaces.

    Raises:
        KrespError: If it is there and `overwrite` is not given, or its folder is missing or cannot be written into.
        UsageError: If it is `source`, by this or another name.
    """
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise UsageError(f"--out {path} is the video itself; give another name")
    if path.exists() and not overwrite:
        raise KrespError(f"{path} is there already; use --overwrite to replace it")
    if not is_remote(path) and not path.parent.is_dir():
        raise KrespError(f"there is no folder {path.parent} for {path.name}")
    try:
        _try_place(path)
    except OSError as error:
        raise KrespError(f"cannot write into {path.parent} ({error.strerror}); name a file elsewhere") from None


def runner_options(function: Function) -> Function:
    """`--runner NAME` and `--beam NAME=VALUE`, passed as `runner` and `beam`."""
    runner = click.option(
        "--runner",
        metavar="NAME",
        help="Do it as a pipeline of Apache Beam: on DirectRunner, FlinkRunner, SparkRunner, DataflowRunner, …",
    )
    options = click.option(
        "--beam", multiple=True, metavar="NAME=VALUE", help="An option of the pipeline or its runner; may be repeated."
    )
    return runner(options(function))


def picture_options(function: Function) -> Function:
    """`--out FILE`, a `.png` or `.mp4`, and `--overwrite`, passed as `out` and `overwrite`; see `check_output`."""
    out = click.option(
        "--out",
        type=FILE,
        metavar="FILE",
        required=True,
        callback=_check_picture,
        help="Where to write: a name ending in .png for a sheet of pictures, in .mp4 for a video.",
    )
    return out(click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")(function))


def _check_picture(context: click.Context, option: click.Parameter, path: Path) -> Path:
    if path.suffix.lower() not in (".png", ".mp4"):
        raise click.BadParameter(f"expected a name ending in .png or .mp4, received '{path}'")
    return path


#: What `--config` takes.
CONFIG_HELP = "Configuration: a YAML file, or a name from `kresp3d config list`."


def config_file_option(*, required: bool, help: str = CONFIG_HELP) -> Callable[[Function], Function]:
    """`--config FILE`, passed as `config_file`, which `kresp3d.config.schema.load_config` takes."""
    return click.option(
        "--config",
        "-c",
        "config_file",
        type=ANYWHERE,
        required=required,
        metavar="FILE",
        help=help,
    )


def training_options(function: Function) -> Function:
    """`--resume`, `--until EPOCH` and `--overwrite` of a command that trains in a run folder."""
    resume = click.option("--resume", is_flag=True, help="Go on from the last finished epoch of the run folder.")
    until = click.option(
        "--until",
        type=click.IntRange(1),
        metavar="EPOCH",
        help="Stop after this epoch, on the way to training.epochs; --resume goes on.",
    )
    overwrite = click.option("--overwrite", is_flag=True, help="Begin anew in a folder that holds a run.")
    return resume(until(overwrite(function)))


def jobs_option(function: Function) -> Function:
    """`--jobs N` of a command that runs many trainings, passed as `jobs`."""
    return click.option(
        "--jobs",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Trainings at a time, each with its share of the cores.",
    )(function)


def config_options(*, required: bool = True) -> Callable[[Function], Function]:
    """Give a command `--config FILE` and `--set KEY=VALUE`, and pass it the `config` they make.

    The decorated function takes a keyword argument `config`, a `Config`. It stands
    below `@click.command()` and, like any option, in the order of the help text.

    Args:
        required: Whether `--config` must be given. Where it need not be, the defaults stand in for the file.

    Raises:
        UsageError: When the command runs, if the file or an override is not accepted.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*args: Any, config_file: Path | None, overrides: tuple[str, ...], **kwargs: Any) -> Any:
            from kresp3d.config.schema import load_config

            return function(*args, config=load_config(config_file, overrides), **kwargs)

        # Applied from the last to the first, as decorators are, so that --config comes first in the help.
        help_text = CONFIG_HELP + ("" if required else " [default: built in]")
        return config_file_option(required=required, help=help_text)(override_option(wrapper))

    return decorate

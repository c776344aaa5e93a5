"""`kresp3d suggest`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import FILE, HERE, check_output, config_file_option, override_option

if TYPE_CHECKING:
    from rich.console import Console

    from kresp3d.api.suggest import Machine, Suggestion
    from kresp3d.config.schema import Config


@click.command(name="suggest")
@click.argument("videos", type=HERE, required=False)
@config_file_option(required=False)
@override_option
@click.option("--out", type=FILE, metavar="FILE", help="Write the settings, with the reasons, as a configuration.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
def command(
    videos: Path | None, config_file: Path | None, overrides: tuple[str, ...], out: Path | None, overwrite: bool
) -> None:
    """Say how videos would be trained, what it would take, and what would help most.

    VIDEOS is a folder of CLASS/VIDEO, a CSV file, or a tree of UCF101 or HMDB51; by default those of the configuration.
    Without a configuration, persons and recordings are looked for in their names, as by `kresp3d init`. The headers of
    the videos are read, and nothing is prepared. Where the memory will do, a network is trained for a moment, to know
    how fast this machine is.
    """
    from kresp3d.api.suggest import suggest
    from kresp3d.system.files import write_text
    from kresp3d.ui.console import plain_console
    from kresp3d.ui.progress import progress_bar

    if out is not None:
        check_output(out, overwrite, source=videos)
        # A file elsewhere is used from elsewhere.
        videos = videos if videos is None or out.parent == Path() else videos.absolute()
    with shown_below():
        config, notes = _config(videos, config_file, overrides)
        with progress_bar("Reading") as progress:
            found = suggest(config, progress=progress)
    console = plain_console()
    show(found, console, notes)
    if out is not None:
        write_text(out, found.plan.config.to_yaml(found.plan.notes))
        console.print(f"\nWrote {out}. Next: kresp3d train --config {out}", soft_wrap=True)


def _config(videos: Path | None, file: Path | None, overrides: tuple[str, ...]) -> tuple[Config, list[str]]:
    """The configuration, and what was found for it."""
    from kresp3d.config.schema import load_config, override_config
    from kresp3d.datasets.first_config import survey
    from kresp3d.system.errors import UsageError

    if file is not None:
        config = load_config(file, overrides)
        return (config if videos is None else override_config(config, {"data.videos": str(videos)}, "VIDEOS")), []
    if videos is None:
        raise UsageError("expected a folder of videos or a CSV file, or a configuration (--config)")
    found = survey(videos, overrides)
    if found.group_regex is None:
        return found.config, []
    return found.config, [
        f"groups are named by data.group_regex '{found.group_regex}', which was found in the names; if that is neither "
        "the person nor the recording, set a better one"
    ]


@contextmanager
def shown_below() -> Iterator[None]:
    """Keep back what is said of splits when they are made: it stands in what is shown here, too."""

    def is_other(record: logging.LogRecord) -> bool:
        return record.module != "splits"

    logger = logging.getLogger("kresp3d")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def show(found: Suggestion, console: Console, notes: Sequence[str] = ()) -> None:
    """Print the plan, what it takes, and what would help.

    Args:
        found: What was found out.
        console: Where to.
        notes: What else a person should know.
    """
    from rich.table import Table

    from kresp3d.datasets.splits import count
    from kresp3d.system.text import printable

    train, test = found.videos
    words = [
        f"{count(train, 'video')} to learn from",
        *([f"{found.plan.videos.validation} to validate"] if found.plan.videos.validation else []),
        f"{test} to test",
        count(len(found.classes), "class", "classes"),
        *([f"{count(found.groups, 'group')} to learn from"] if found.groups else []),
    ]
    console.print(", ".join(words))
    if found.plan.choices:
        console.print("\nWhat `auto` comes to:")
        settings = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
        for choice in found.plan.choices:
            settings.add_row(choice.key, str(choice.value), choice.reason)
        console.print(settings)
    console.print("\nThe training:")
    rows = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    rows.add_row("plan", found.plan.outline)
    for row in _machine_rows(found):
        rows.add_row(*row)
    for note in (*notes, *found.doubts):
        rows.add_row("note", note)
    if found.bad:
        bad = found.bad[0]
        rows.add_row(
            "note",
            f"{count(len(found.bad), 'video')} cannot be opened, such as {printable(f'{bad.name}: {bad.reason}')}",
        )
    console.print(rows)
    if found.advice:
        console.print("\nWhat would help most:")
        steps = Table(box=None, padding=(0, 1, 0, 0), show_header=False, pad_edge=False)
        for number, each in enumerate(found.advice, 1):
            steps.add_row(f"{number}.", printable(each))
        console.print(steps)


def _machine_rows(found: Suggestion) -> list[tuple[str, str]]:
    machine, seconds = found.machine, found.plan.seconds
    if machine is None:
        return []
    if seconds is None or machine.rate is None:
        time = "not measured, since it would not fit into memory"
    else:
        time = f"about {_duration(seconds)}, at the {machine.rate:.3g} clips a second that were measured now"
    return [("time", time), ("memory", _memory(machine))]


def _memory(machine: Machine) -> str:
    needed = f"about {machine.needed / 2**30:.1f} GiB"
    if machine.there is None:
        return f"{needed} on a CPU; what is available here is not known"
    there = f"{machine.there / 2**30:.1f} GiB are available"
    if machine.verdict == "too large":
        return f"{needed}, and only {there}: it does not fit; {machine.helps}"
    return f"{needed}, and {there}" + (f"; if it runs out, {machine.helps}" if machine.verdict == "close" else "")


def _duration(seconds: float) -> str:
    from kresp3d.system.text import clock

    text = clock(seconds)
    return text if text.endswith("h") else f"{text} {'hours' if seconds >= 3600 else 'minutes'}"

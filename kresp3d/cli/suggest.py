"""`kresp3d suggest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import FILE, HERE, check_output, config_options

if TYPE_CHECKING:
    from rich.console import Console

    from kresp3d.api.suggest import Suggestion
    from kresp3d.config.schema import Config


@click.command(name="suggest")
@click.argument("videos", type=HERE, required=False)
@config_options(required=False)
@click.option("--out", type=FILE, metavar="FILE", help="Write the settings, with the reasons, as a configuration.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
def command(config: Config, videos: Path | None, out: Path | None, overwrite: bool) -> None:
    """Say how videos would be trained, what it would take, and what would help most.

    VIDEOS is a folder of CLASS/VIDEO or a CSV file; by default those of the configuration. The headers of the videos
    are read, and nothing is prepared. A network is trained for a moment, to know how fast this machine is.
    """
    from kresp3d.api.suggest import suggest
    from kresp3d.config.schema import override_config
    from kresp3d.datasets.splits import count
    from kresp3d.system.files import write_text
    from kresp3d.ui.console import plain_console
    from kresp3d.ui.progress import progress_bar

    if videos is not None:
        config = override_config(config, {"data.videos": str(videos)}, "VIDEOS")
    if out is not None:
        check_output(out, overwrite, source=videos)
    with progress_bar("Reading") as progress:
        found = suggest(config, progress=progress)
    console = plain_console()
    words = [
        count(len(found.plan.videos.frames), "training video"),
        count(len(found.classes), "class", "classes"),
        *([count(found.groups, "training group")] if found.groups else []),
        *([count(found.plan.videos.validation, "validation video")] if found.plan.videos.validation else []),
    ]
    console.print(f"{', '.join(words)}\n")
    show(found, console)
    if out is not None:
        write_text(out, found.plan.config.to_yaml(found.plan.notes))
        console.print(f"\nWrote {out}. Next: kresp3d train --config {out}")


def show(found: Suggestion, console: Console) -> None:
    """Print the plan, what it takes, and what would help."""
    from rich.table import Table

    from kresp3d.system.text import printable

    if found.plan.choices:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for choice in found.plan.choices:
            table.add_row(choice.key, str(choice.value), choice.reason)
        console.print(table)
        console.print()
    console.print(str(found.plan))
    if found.memory is not None:
        needed, free = found.memory
        of = "" if free is None else f" of {free / 2**30:.1f} GiB that are free"
        console.print(f"Memory: about {needed / 2**30:.1f} GiB{of}")
    for doubt in found.doubts:
        console.print(f"Note: {doubt}")
    if found.bad:
        bad = found.bad[0]
        console.print(f"{len(found.bad)} cannot be opened, such as {printable(bad.name)}: {printable(bad.reason)}")
    if found.advice:
        console.print("\nWhat would help most:")
        steps = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        for number, each in enumerate(found.advice, 1):
            steps.add_row(f"{number}.", printable(each))
        console.print(steps)

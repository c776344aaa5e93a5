"""`kresp3d init`."""

from __future__ import annotations

from pathlib import Path

import click

from kresp3d.cli.options import FILE, HERE, check_output

#: Where the configuration goes.
NAME = "kresp3d.yaml"


@click.command(name="init")
@click.argument("videos", type=HERE)
@click.option("--out", type=FILE, metavar="FILE", default=NAME, show_default=True, help="Where to write it.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
def command(videos: Path, out: Path, overwrite: bool) -> None:
    """Write a first configuration for your own videos, with comments.

    VIDEOS is a folder of CLASS/VIDEO, a CSV file with the columns path and label, or a tree of UCF101 or HMDB51. No
    video is opened: names alone say which classes there are, and perhaps which person or recording each is of.
    """
    from kresp3d.datasets.first_config import first_config, survey, told
    from kresp3d.system.files import write_text

    check_output(out, overwrite, source=videos)
    # A file elsewhere is used from elsewhere.
    found = survey(videos if out.parent == Path() else videos.absolute())
    write_text(out, first_config(found, out))
    click.echo(told(found))
    click.echo(f"Wrote {out}. Next: kresp3d train --config {out}")

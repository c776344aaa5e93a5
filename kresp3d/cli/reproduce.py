"""`kresp3d reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import ANYWHERE, config_options, jobs_option

if TYPE_CHECKING:
    from kresp3d.config.schema import Config


@click.command(name="reproduce")
@config_options()
@click.option(
    "--table",
    type=click.Choice(["2", "3", "4", "all"]),
    default="all",
    show_default=True,
    help="Table of the paper: 2 modalities and full 3D, 3 step sizes, 4 the module's parts.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Trainings of each network, with as many seeds from the configuration's on.",
)
@jobs_option
@click.option("--out", type=ANYWHERE, metavar="DIR", help="Folder of all.  [default: runs/NAME]")
@click.option("--resume", is_flag=True, help="Go on in the folder; nothing finished is trained again.")
@click.option("--overwrite", is_flag=True, help="Begin anew in a folder that holds a reproduction.")
def command(config: Config, table: str, seeds: int, jobs: int, out: Path | None, resume: bool, overwrite: bool) -> None:
    """Run the paper's experiments on your videos, and say which of its claims hold there.

    Trains the networks of the paper's Tables 2 to 4, each with several seeds and in a process of its own, and compares
    them. Leaves results.csv, tables.csv, claims.csv and report.md, which say what is known while it runs.
    """
    from kresp3d.config.schema import check_one_host
    from kresp3d.experiments.reproduction.folder import ReproductionFolder
    from kresp3d.experiments.reproduction.tables import TABLES, row_config, rows_of
    from kresp3d.system.errors import UsageError
    from kresp3d.ui.console import plain_console

    check_one_host(config, "reproduce")
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    from kresp3d.training.checks import check_videos
    from kresp3d.training.preparation import prepare_with_progress, settled_for_all

    config = settled_for_all(config)
    tables = tuple(paper.number for paper in TABLES) if table == "all" else (int(table),)
    for row in rows_of(tables):
        row_config(config, row, config.seed + seeds - 1)
    folder = ReproductionFolder(out or Path("runs") / config.name)
    folder.check(config, resume=resume, overwrite=overwrite)
    with folder.locked():
        # What is there already is replaced only when the videos are there, and do.
        records = prepare_with_progress(config.data)
        check_videos(config, records)
        folder.begin(config, resume=resume, overwrite=overwrite)

        from kresp3d.experiments.reproduction.reproduce import reproduce
        from kresp3d.experiments.reproduction.runner import Runner

        reproduce(Runner(folder, config, tables, seeds, jobs), records, plain_console())

"""`kresp3d reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import config_options

if TYPE_CHECKING:
    from kresp3d.config import Config


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
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Trainings at a time, each with its share of the cores.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of all.  [default: runs/NAME]")
@click.option("--resume", is_flag=True, help="Go on in the folder; nothing finished is trained again.")
@click.option("--overwrite", is_flag=True, help="Begin anew in a folder that holds a reproduction.")
def command(config: Config, table: str, seeds: int, jobs: int, out: Path | None, resume: bool, overwrite: bool) -> None:
    """Run the paper's experiments on your videos, and say which of its claims hold there.

    Trains the networks of the paper's Tables 2 to 4, each with several seeds and in a process of its own, and compares
    them. Leaves results.csv, tables.csv, claims.csv and report.md, which say what is known while it runs.
    """
    import os
    from collections import Counter

    from rich.console import Console

    from kresp3d.errors import KrespError, UsageError
    from kresp3d.reproduction.folder import ReproductionFolder
    from kresp3d.reproduction.runner import Runner, default_folder
    from kresp3d.reproduction.tables import TABLES, row_config, rows_of
    from kresp3d.run_folder import command_line

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    tables = tuple(paper.number for paper in TABLES) if table == "all" else (int(table),)
    for row in rows_of(tables):
        row_config(config, row, config.seed + seeds - 1)
    folder = ReproductionFolder(out or default_folder(config))
    with folder.locked():
        folder.begin(config, resume=resume, overwrite=overwrite)

        from kresp3d.cli.progress import prepare_with_progress

        records = prepare_with_progress(config.data)
        videos = Counter(video.split for video in records.videos)
        split = config.evaluation.split
        for needed in ("train", split):
            if not videos[needed]:
                raise KrespError(
                    f"{config.data.videos} has no {needed} videos, "
                    + (
                        "on which networks are compared; raise data.test, or name another evaluation.split"
                        if needed == split
                        else "on which networks are trained; check the split of the data"
                    )
                )

        from kresp3d.reproduction.cost import survey
        from kresp3d.reproduction.report import Facts
        from kresp3d.reproduction.reproduce import reproduce

        rows = rows_of(folder.tables(tables))
        found = survey({row: row_config(config, row).model for row in rows}, len(records.classes))
        if jobs > 1 and found.gpus and "TF_FORCE_GPU_ALLOW_GROWTH" not in os.environ:
            raise UsageError(
                f"--jobs {jobs}: the first training would take all memory of the GPU ({found.gpus[0]}); use --jobs 1, "
                "or let TensorFlow take what it needs by TF_FORCE_GPU_ALLOW_GROWTH=true in the environment"
            )
        runner = Runner(folder, config, tables, seeds, jobs)
        facts = Facts(command_line(), videos, len(records.classes), found)
        reproduce(runner, facts, Console(highlight=False))

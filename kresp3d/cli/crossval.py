"""`kresp3d crossval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import ANYWHERE, config_options, jobs_option

if TYPE_CHECKING:
    from kresp3d.config.schema import Config
    from kresp3d.experiments.crossvalidation.folds import Folds


def _read_folds(context: click.Context, option: click.Parameter, value: str) -> Folds:
    if value == "group":
        return "group"
    if not value.isascii() or not value.isdigit() or int(value) < 2:
        raise click.BadParameter(f"expected a number of at least 2, or the word 'group', received '{value}'")
    return int(value)


@click.command(name="crossval")
@config_options()
@click.option(
    "--folds",
    default="5",
    show_default=True,
    metavar="K|group",
    callback=_read_folds,
    help="Number of folds; 'group' makes one fold for each person or recording.",
)
@click.option("--all", "everything", is_flag=True, help="Also take the test split that the data brings.")
@jobs_option
@click.option("--out", type=ANYWHERE, metavar="DIR", help="Folder of all.  [default: runs/NAME-crossval]")
@click.option("--resume", is_flag=True, help="Go on in the folder; nothing finished is trained again.")
@click.option("--overwrite", is_flag=True, help="Begin anew in a folder that holds a cross-validation.")
def command(
    config: Config, folds: Folds, everything: bool, jobs: int, out: Path | None, resume: bool, overwrite: bool
) -> None:
    """Measure a configuration by cross-validation: for data that are too few for a test split.

    Deals the videos to folds so that a group, a person or a recording, is in one fold. Then trains a network for each
    fold on the videos of all others, in a process of its own, and tests it on the fold. So each video is tested once,
    by a network that has not seen its group. Leaves report.md, metrics.json, folds.csv and predictions.csv.

    Videos of a test split that the data brings are left out, unless --all is given.
    """
    from kresp3d.config.schema import check_one_host
    from kresp3d.experiments.crossvalidation.folder import CrossValidationFolder
    from kresp3d.system.errors import UsageError
    from kresp3d.ui.console import plain_console

    check_one_host(config, "crossval")
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    folder = CrossValidationFolder(out or Path("runs") / f"{config.name}-crossval")
    folder.check(config, resume=resume, overwrite=overwrite)
    with folder.locked():
        from kresp3d.experiments.crossvalidation.crossval import cross_validate

        cross_validate(
            folder,
            config,
            folds,
            plain_console(),
            everything=everything,
            jobs=jobs,
            resume=resume,
            overwrite=overwrite,
        )

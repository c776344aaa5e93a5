"""`kresp3d tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import ANYWHERE, config_file_option, override_option

if TYPE_CHECKING:
    from kresp3d.config.schema import Config


@click.command(name="tune")
@config_file_option(
    required=True,
    help="Configuration with a search space, such as tune: a YAML file, or a name from `kresp3d config list`.",
)
@override_option
@click.option("--out", type=ANYWHERE, metavar="DIR", help="Folder of the sweep.  [default: runs/NAME]")
@click.option("--trials", type=click.IntRange(1), help="Most trials; as --set tune.trials=N.")
@click.option("--seeds", type=click.IntRange(1), help="Trainings of each trial, with as many seeds.")
@click.option("--resume", is_flag=True, help="Go on with the sweep of the folder; nothing finished is run again.")
@click.option("--overwrite", is_flag=True, help="Begin anew in a folder that holds a sweep.")
@click.option(
    "--chief", metavar="HOST:PORT", help="Lead workers from this address or, with --worker, be led from there."
)
@click.option("--worker", metavar="NAME", help="Run trials of a chief's, under this name.")
@click.option(
    "--patience",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="After which the chief gives a silent worker's trial to another.",
)
def command(
    config_file: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    trials: int | None,
    seeds: int | None,
    resume: bool,
    overwrite: bool,
    chief: str | None,
    worker: str | None,
    patience: float,
) -> None:
    """Try values of chosen keys and compare the networks on the validation videos.

    What varies stands in the configuration, under tune. Each trial trains in a process of its own. Leaves
    trials.csv, best.yaml for `kresp3d train`, report.md and TensorBoard's HParams.
    """
    from kresp3d.config.schema import check_one_host, load_config
    from kresp3d.system.errors import UsageError
    from kresp3d.ui.console import plain_console

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    if worker is not None and chief is None:
        raise UsageError("--worker needs --chief HOST:PORT, the address of the chief")
    options = [f"tune.{key}={value}" for key, value in (("trials", trials), ("seeds", seeds)) if value is not None]
    config = load_config(config_file, [*overrides, *options])
    check_one_host(config, "tune")

    from kresp3d.training.preparation import settled_for_all

    config = settled_for_all(config, compared=True)

    from kresp3d.experiments.tuning.space import SearchSpace

    space = SearchSpace(config, str(config_file))

    from kresp3d.experiments.tuning.cluster import check_free, set_environment
    from kresp3d.experiments.tuning.sweep import SweepFolder
    from kresp3d.experiments.tuning.tune import lead, work
    from kresp3d.system.address import Address

    address = None if chief is None else Address.parse(chief, "--chief")
    if address is not None:
        set_environment(address, worker)
        if worker is None:
            check_free(address)
    folder = SweepFolder(out or Path("runs") / config.name)
    console = plain_console()
    if address is not None and worker is not None:
        _prepare(config)
        work(folder, space, address, console)
        return
    folder.check(config, resume=resume, overwrite=overwrite)
    with folder.locked():
        if address is None:
            # Before an earlier sweep is replaced.
            _prepare(config)
        folder.begin(config, resume=resume, overwrite=overwrite)
        lead(folder, space, console, address=address, patience=patience)


def _prepare(config: Config) -> None:
    """Prepare the videos once, for all trials, and make sure that there are some to compare on."""
    from kresp3d.system.errors import KrespError
    from kresp3d.training.checks import check_videos
    from kresp3d.training.preparation import prepare_with_progress

    records = prepare_with_progress(config.data)
    check_videos(config, records)
    if all(video.split != "validation" for video in records.videos):
        raise KrespError(
            f"{config.data.videos} has no validation videos, on which trials are compared; "
            f"raise data.validation, which is {config.data.validation:g}"
        )

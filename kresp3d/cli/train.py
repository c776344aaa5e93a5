"""`kresp3d train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import ANYWHERE, config_file_option, override_option, training_options

if TYPE_CHECKING:
    from rich.console import Console

    from kresp3d.config import Config
    from kresp3d.data.index import Records
    from kresp3d.run_folder import RunFolder
    from kresp3d.training.cluster import Cluster


@click.command(name="train")
@config_file_option(required=False)
@override_option
@click.option("--out", type=ANYWHERE, metavar="RUN", help="Run folder.  [default: runs/NAME]")
@training_options
def command(
    config_file: Path | None,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: bool,
    until: int | None,
    overwrite: bool,
) -> None:
    """Train a network and measure it on the test videos.

    Videos are prepared first, where that is not done. `kresp3d train --resume --out RUN` takes the configuration
    from the run folder.
    """
    from rich.console import Console

    from kresp3d.config import load_config
    from kresp3d.errors import UsageError
    from kresp3d.run_folder import RunFolder
    from kresp3d.training.cluster import Cluster

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    if config_file is None:
        if not (resume and out):
            raise UsageError("expected --config FILE, such as --config base, or --resume with --out RUN")
        config_file = RunFolder(out).config_file
        if not config_file.is_file():
            raise UsageError(f"{out} holds no run to resume; expected --config FILE to begin one")
    config = load_config(config_file, overrides)
    console = Console(highlight=False, soft_wrap=True)
    cluster = Cluster.of(config.training)
    if cluster is not None and not cluster.is_chief:
        _train_along(config, cluster, console, until)
        return
    run = RunFolder(out or Path("runs") / config.name)
    resume = resume and run.config_file.is_file()
    if not resume:
        if config.compress.methods:
            # Before anything is deleted: this may be the configuration of the very run that would be overwritten.
            raise UsageError(
                f"{config_file} is of a run that compressed a network (compress.methods); begin another one by "
                "`kresp3d compress RUN`, or train from scratch with --set compress.methods=[]"
            )
        run.check_free(overwrite=overwrite)

    with run.locked():
        if resume:
            run.check_config(config)
        else:
            run = RunFolder.create(run.path, config, overwrite=overwrite)

        from kresp3d.cli.progress import prepare_with_progress

        # Before TensorFlow is imported, which takes seconds and says nothing of a wrong path.
        records = prepare_with_progress(run.config.data)
        train_and_measure(run, records, console, resume=resume, until=until)


def _train_along(config: Config, cluster: Cluster, console: Console, until: int | None) -> None:
    """Train as one of several hosts, of which another one keeps the run and goes on with it."""
    import tempfile

    from rich.console import Console

    from kresp3d.cli.progress import prepare_with_progress
    from kresp3d.data.index import reading
    from kresp3d.run_folder import RunFolder
    from kresp3d.training.collectives import meet
    from kresp3d.training.fit import train
    from kresp3d.training.strategy import make_strategy

    console.print(f"Training as {cluster}; the run is with the first one, at {cluster.addresses[0]}.")
    # The chief is there when the videos are prepared, which it may have done for all hosts.
    strategy = make_strategy(config.training)
    records = prepare_with_progress(config.data)
    # What a run has is here too, so that all workers do the same, and goes in the end.
    with tempfile.TemporaryDirectory(prefix="kresp3d-") as folder, reading(records.folder):
        run = RunFolder.create(Path(folder) / "run", config)
        progress = train(run, records, until=until, strategy=strategy, console=Console(quiet=True))
    console.print(f"Trained as {cluster} up to epoch {progress.epoch}; the first one measures the network.")
    meet(strategy, cluster)


def train_and_measure(
    run: RunFolder, records: Records, console: Console, *, resume: bool = False, until: int | None = None
) -> None:
    """Train a run, which this process holds, and measure it; see `kresp3d.training.fit.train`."""
    from kresp3d.cli.evaluate import measure
    from kresp3d.data.index import reading
    from kresp3d.last_words import last_words
    from kresp3d.run_folder import command_line
    from kresp3d.training.cluster import Cluster
    from kresp3d.training.fit import LESS_MEMORY, train
    from kresp3d.training.strategy import make_strategy

    ended = (
        f"The training in {run.path} was killed, or a library ended it. If memory ran out: {LESS_MEMORY}. What was "
        f"finished is kept; go on by `kresp3d train --resume --out {run.path}`"
    )
    cluster, strategy = Cluster.of(run.config.training), make_strategy(run.config.training)
    with reading(records.folder), last_words(ended):
        train(run, records, resume=resume, until=until, strategy=strategy, console=console)
    split = run.config.evaluation.split
    if split in run.splits:
        from kresp3d.inference.keras_engine import KerasEngine

        measure(run, KerasEngine(run), split, run.config.evaluation.clips, console, command_line(), trained_in=run)
    else:
        console.print(f"No {split} videos: nothing is measured.")
    if run.config.compress.methods:
        import logging

        from kresp3d.compression.report import report
        from kresp3d.errors import KrespError

        try:
            console.print(report(run))
        except KrespError as error:
            # The training is over, and whole.
            logging.getLogger("kresp3d").warning("%s", error)
    if cluster is not None:
        from kresp3d.training.collectives import meet

        meet(strategy, cluster)

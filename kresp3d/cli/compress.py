"""`kresp3d compress`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import ANYWHERE, override_option, training_options

if TYPE_CHECKING:
    from kresp3d.config.schema import Method


@click.command(name="compress")
@click.argument("source", metavar="RUN", type=ANYWHERE)
@click.option(
    "--method",
    type=click.Choice(["prune", "prune-2x4", "cluster", "qat", "slim"]),
    required=True,
    help="prune: the smallest weights become zero; prune-2x4: two of every four; cluster: few different weights in a "
    "layer; slim: the channels that do least are taken out; qat: weights and activations are rounded as in an int8 "
    "file, and learn with that.",
)
@override_option
@click.option("--out", type=ANYWHERE, metavar="RUN2", help="Run folder.  [default: RUN-METHOD]")
@training_options
def command(
    source: Path,
    method: Method,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: bool,
    until: int | None,
    overwrite: bool,
) -> None:
    """Make the network of a run smaller, and train it on meanwhile.

    The result is a run folder like any other. What is done stands in its configuration under compress and training;
    --set changes it.
    """
    from kresp3d.runs.run_folder import RunFolder
    from kresp3d.system.errors import UsageError
    from kresp3d.ui.console import plain_console

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    trained = RunFolder.open(source)
    resolved = source.resolve()
    run = RunFolder(out or resolved.with_name(f"{resolved.name}-{method}"))
    if run.path.resolve() == resolved:
        raise UsageError(f"--out {run.path} is the run itself; give another folder")
    resume = resume and run.config_file.is_file()
    if not resume:
        run.check_free(overwrite=overwrite)

    # After the options are looked at: TensorFlow takes seconds to import.
    from kresp3d.api.compress import begin, check_source, compress_config, load_source
    from kresp3d.api.train import train_and_measure
    from kresp3d.records.index import read_index
    from kresp3d.training.memory import check_memory
    from kresp3d.training.strategy import make_strategy

    config = compress_config(trained, method, overrides)
    # Logical devices can be made only before TensorFlow computes anything, as it does to look at the network.
    make_strategy(config.training)
    network = None if resume else load_source(trained, config)
    if network is not None:
        # Before anything is replaced.
        decoded = sum(video.decoded for video in trained.records("train"))
        check_memory(config, len(trained.classes), decoded, network=network)
    console = plain_console(soft_wrap=True)
    with run.locked():
        if resume:
            config = run.check_config(config)
            check_source(run, trained)
        else:
            run = RunFolder.create(run.path, config, overwrite=overwrite)
            config = run.config
        if not run.start_file.is_file():
            begin(trained, run, network or load_source(trained, config))
        train_and_measure(run, read_index(run.records_folder), console, resume=resume, until=until, config=config)

"""`kresp3d train`."""

from __future__ import annotations

from pathlib import Path

import click

from kresp3d.cli.options import ANYWHERE, config_file_option, override_option, training_options


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
    from the run folder; with --set training.epochs=… and the like it trains on in a new phase.
    """
    import kresp3d

    kresp3d.train(config_file, overrides, out=out, resume=resume, overwrite=overwrite, until=until)

"""`kresp3d export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import ANYWHERE

if TYPE_CHECKING:
    from kresp3d.export.export import ExportFormat
    from kresp3d.runs.network_info import Quantize


@click.command(name="export")
@click.argument("run", type=ANYWHERE)
@click.option(
    "--format",
    "formats",
    type=click.Choice(["saved_model", "litert", "openvino", "onnx"]),
    multiple=True,
    help="What to write; may be repeated.  [default: all that is installed]",
)
@click.option(
    "--quantize",
    type=click.Choice(["none", "float16", "dynamic", "int8"]),
    multiple=True,
    help="Which LiteRT files to write; may be repeated.  [default: all four; of full3d all but int8]",
)
@click.option(
    "--to",
    "folder",
    type=ANYWHERE,
    metavar="DIR",
    help="Where to.  [default: saved_models/NAME]",
)
@click.option(
    "--videos",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="Compare on at most so many test videos, spread over the classes.",
)
@click.option("--overwrite", is_flag=True, help="Replace files of the same names, also of another run's.")
def command(
    run: Path,
    formats: tuple[ExportFormat, ...],
    quantize: tuple[Quantize, ...],
    folder: Path | None,
    videos: int,
    overwrite: bool,
) -> None:
    """Export the network of a run, and compare every file with it on test videos.

    A file that says something else than the network is kept as NAME.rejected, and the exit code is then 1. The figures
    are also in parity.json.
    """
    from kresp3d.runs.run_folder import RunFolder
    from kresp3d.ui.console import plain_console
    from kresp3d.ui.progress import progress_bars

    source = RunFolder.open(run)
    target = folder or Path("saved_models") / source.config.name

    # After the options are checked: TensorFlow takes seconds to import.
    from kresp3d.export.export import export, installed_formats
    from kresp3d.export.parity import parity_table
    from kresp3d.records.index import reading

    units = {"Exporting": "files", "Comparing": "clips", "Timing": "files"}
    with progress_bars(units) as progress, reading(source.records_folder):
        found = export(
            source,
            target,
            formats=formats or installed_formats(),
            quantize=quantize or None,
            videos=videos,
            overwrite=overwrite,
            progress=progress,
        )
    console = plain_console(soft_wrap=True)
    console.print(parity_table(found, source.config.evaluation.split))
    console.print(f"Exported to {target}", markup=False)
    faults = [parity for parity in found if not parity.within]
    for parity in faults:
        if not parity.decides:
            click.echo(f"Warning: {parity.artefact}: {parity.fault}; run it in float32", err=True)
    rejected = "; ".join(f"{p.artefact} was kept under that name ({p.fault})" for p in faults if p.decides)
    if rejected:
        raise click.ClickException(f"not all files say what the network says: {rejected}")

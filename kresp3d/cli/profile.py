"""`kresp3d profile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import config_options, json_option

if TYPE_CHECKING:
    from kresp3d.config.schema import Config


@click.command(name="profile")
@config_options()
@click.option("--classes", type=click.IntRange(2), default=101, show_default=True, help="Number of classes.")
@json_option("Write the figures here.")
def command(config: Config, classes: int, json_file: Path | None) -> None:
    """Show every stage of a network: output shape, parameters, and multiply-adds for one clip."""
    import json

    from kresp3d.nn import P3DResNet
    from kresp3d.nn.profile import profile
    from kresp3d.system.files import write_text

    result = profile(P3DResNet(classes=classes, **dict(config.model)))
    if json_file is not None:
        write_text(json_file, json.dumps(result.to_json(), indent=2) + "\n")

    from rich.table import Table

    from kresp3d.ui.console import plain_console

    table = Table("stage")
    for title in ("output of one clip", "parameters", "MACs (G)"):
        table.add_column(title, justify="right")
    for stage in result.stages:
        table.add_row(stage.name, "×".join(map(str, stage.shape)), f"{stage.parameters:,}", f"{stage.macs / 1e9:.3f}")
    table.add_section()
    table.add_row("all", "", f"{result.parameters:,}", f"{result.macs / 1e9:.3f}")
    console = plain_console()
    console.print(f"{classes} classes (--classes)")
    console.print(table)
    console.print(f"MACs are multiply-adds; FLOPs = 2×MACs = {2 * result.macs / 1e9:.3f} G")

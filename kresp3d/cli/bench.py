"""`kresp3d bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import ANYWHERE, json_option, precision_option

if TYPE_CHECKING:
    from kresp3d.inference.engine import Precision


@click.command(name="bench")
@click.argument("networks", nargs=-1, required=True, type=ANYWHERE)
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(1),
    multiple=True,
    default=(1, 8),
    show_default=True,
    help="Clips scored at once; may be repeated.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads each network may use.  [default: all cores]")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="How long each network runs at each batch size.",
)
@precision_option
@json_option("Write the figures here.")
def command(
    networks: tuple[Path, ...],
    batches: tuple[int, ...],
    threads: int | None,
    seconds: float,
    precision: Precision,
    json_file: Path | None,
) -> None:
    """Time networks on random clips: run folders and exported files.

    Each runs in a process of its own, and they take turns, so that what else the machine does meets all alike.
    """
    import json

    from kresp3d.inference.bench import bench, bench_table
    from kresp3d.system.files import write_text
    from kresp3d.ui.console import plain_console
    from kresp3d.ui.progress import progress_bar

    with progress_bar("Timing", "turns") as progress:
        found = bench(
            networks, batches=batches, threads=threads, precision=precision, seconds=seconds, progress=progress
        )
    plain_console(soft_wrap=True).print(bench_table(found))
    if json_file is not None:
        write_text(json_file, json.dumps([row.to_json() for row in found], indent=2, ensure_ascii=False) + "\n")

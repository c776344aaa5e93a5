"""`kresp3d evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from kresp3d.evaluation.metrics import Evaluation
    from kresp3d.run_folder import RunFolder


@click.command(name="evaluate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(["test", "validation", "train"]), help="[default: the configuration's]")
@click.option("--clips", type=click.IntRange(1), help="Clips of each video.  [default: the configuration's, 10]")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the figures here too."
)
def command(run: Path, split: str | None, clips: int | None, json_file: Path | None) -> None:
    """Measure the network of a run: clip and video accuracy, by class and in all.

    Writes metrics.json, report.md and figures into the run folder.
    """
    from rich.console import Console

    from kresp3d.run_folder import RunFolder, command_line

    folder = RunFolder.open(run)
    settings = folder.config.evaluation
    evaluation = measure(
        folder,
        split or settings.split,
        clips or settings.clips,
        Console(highlight=False, soft_wrap=True),
        command_line(),
    )
    if json_file is not None:
        from kresp3d.evaluation.report import write_metrics

        write_metrics(json_file, evaluation)


def measure(run: RunFolder, split: str, clips: int, console: Console, command_line: str) -> Evaluation:
    """Evaluate a run, write its report and print the summary."""
    from kresp3d.cli.progress import progress_bar
    from kresp3d.data.index import reading
    from kresp3d.evaluation.evaluate import evaluate, report
    from kresp3d.evaluation.report import summary_table
    from kresp3d.inference.keras_engine import KerasEngine

    engine = KerasEngine(run)
    with reading(run.records_folder), progress_bar("Evaluating", "clips") as progress:
        evaluation = evaluate(engine, run, split=split, clips=clips, progress=progress)
    path = report(run, evaluation, command=command_line)
    console.print(summary_table(evaluation))
    console.print(f"Report: {path}")
    return evaluation

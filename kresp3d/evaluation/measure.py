"""Measuring a network on a run's videos, with the report and the summary."""

from __future__ import annotations

import logging
from pathlib import Path

from rich.console import Console

from kresp3d.data.index import reading
from kresp3d.evaluation.doubts import doubts
from kresp3d.evaluation.evaluate import evaluate, report
from kresp3d.evaluation.metrics import Evaluation
from kresp3d.evaluation.report import summary_table
from kresp3d.inference.engine import Engine
from kresp3d.run_folder import RunFolder
from kresp3d.ui.progress import progress_bar

logger = logging.getLogger("kresp3d")


def measure(
    run: RunFolder,
    engine: Engine,
    split: str,
    clips: int,
    console: Console,
    command_line: str,
    *,
    folder: Path | None = None,
    trained_in: RunFolder | None,
) -> Evaluation:
    """Evaluate a network on a run's videos, write the report, and print the summary.

    Args:
        run: Whose videos it is measured on.
        engine: The network.
        split: Of the run's videos.
        clips: Clips of each video.
        console: Where the summary is printed. If it is quiet, no progress is shown either.
        command_line: What made the report, which says so.
        folder: Where the report goes; by default into the run's folder.
        trained_in: The run that trained the network, if it is known.
    """
    with (
        reading(run.records_folder),
        progress_bar("Evaluating", "clips", quiet=console.quiet) as progress,
    ):
        evaluation = evaluate(engine, run, split=split, clips=clips, progress=progress)
    reasons = doubts(run, split, trained_in=trained_in)
    path = report(run, evaluation, command=command_line, folder=folder, doubts=reasons)
    for reason in reasons:
        logger.warning("%s", reason)
    console.print(summary_table(evaluation))
    console.print(f"Report: {path}", markup=False)
    return evaluation

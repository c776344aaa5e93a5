"""Measuring a network on a run's videos, with the report and the summary."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from kresp3d.evaluation.assessment import Assessment, assess
from kresp3d.evaluation.baselines import MOST_VIDEOS, nearest_neighbours
from kresp3d.evaluation.binary import check_positive
from kresp3d.evaluation.doubts import absent_classes, doubts, is_own
from kresp3d.evaluation.evaluate import evaluate, report
from kresp3d.evaluation.mean_residual import mean_residuals
from kresp3d.evaluation.metrics import Evaluation
from kresp3d.evaluation.report import print_assessment
from kresp3d.inference.engine import Engine
from kresp3d.records.index import read_index, reading
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError
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
    positive: str | None = None,
    precision: float | None = None,
) -> Assessment:
    """Evaluate a network on a run's videos, write the report, and print the summary.

    Args:
        run: Whose videos it is measured on, and whose training videos the baselines know.
        engine: The network.
        split: Of the run's videos.
        clips: Clips of each video.
        console: Where the summary is printed. If it is quiet, no progress is shown either.
        command_line: What made the report, which says so.
        folder: Where the report goes; by default into the run's folder.
        trained_in: The run that trained the network, if it is known.
        positive: The positive one of two classes; by default the rarer one in training.
        precision: The precision, above 0 and at most 1, that each class's threshold is to give.

    Raises:
        UsageError: If `positive` is given and is not one of two classes.
        KrespError: As `evaluate` does.
    """
    check_positive(run.classes, positive)
    with reading(run.records_folder):
        with progress_bar("Evaluating", "clips", quiet=console.quiet) as progress:
            evaluation = evaluate(engine, run, split=split, clips=clips, progress=progress)
        neighbours, reason = _neighbours(run, evaluation, quiet=console.quiet)
    index = {name: number for number, name in enumerate(run.classes)}
    groups = run.groups()
    assessment = assess(
        evaluation,
        train_labels=np.array([index[label] for label in run.labels("train")]),
        groups=[groups[name] for name in evaluation.video_names],
        neighbours=neighbours,
        reason=reason,
        on_training_videos=split == "train" and is_own(run, trained_in),
        positive=positive,
        precision=precision,
    )
    reasons = doubts(run, split, trained_in=trained_in) + absent_classes(evaluation)
    path = report(run, assessment, command=command_line, folder=folder, doubts=reasons)
    for sentence in reasons:
        logger.warning("%s", sentence)
    print_assessment(assessment, console, path)
    return assessment


def _neighbours(
    run: RunFolder, evaluation: Evaluation, *, quiet: bool
) -> tuple[npt.NDArray[np.int64] | None, str | None]:
    """What the nearest training videos say of the measured ones, or why that is left out."""
    if evaluation.split == "train":
        return None, "the measured videos are the training videos, so each would find itself"
    number = len(run.labels("train"))
    if number > MOST_VIDEOS:
        return None, f"there are {number:,} training videos, and more than {MOST_VIDEOS:,} would take long to read"
    stored = {record.name: record for record in read_index(run.records_folder).videos}
    measured = [stored[name] for name in evaluation.video_names]
    try:
        training = run.records("train")
        with progress_bar("Measuring baselines", "videos", quiet=quiet) as progress:
            # One after the other, and counted together.
            total = len(training) + len(measured)
            known = mean_residuals(training, run.records_folder, progress=lambda done, _: progress(done, total))
            asked = mean_residuals(
                measured, run.records_folder, progress=lambda done, _: progress(len(training) + done, total)
            )
    except KrespError as error:
        return None, f"training videos cannot be read ({error})"
    index = {name: number for number, name in enumerate(run.classes)}
    return nearest_neighbours(known, np.array([index[record.label] for record in training]), asked), None

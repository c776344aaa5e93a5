"""A reproduction from beginning to end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rich.console import Console

from kresp3d.config.schema import Config
from kresp3d.experiments.cost import survey
from kresp3d.experiments.jobs import check_gpus
from kresp3d.experiments.reported import run_reported, say
from kresp3d.experiments.reproduction.claims import judge
from kresp3d.experiments.reproduction.display import ReproductionDisplay, print_results
from kresp3d.experiments.reproduction.report import Facts, write_all
from kresp3d.experiments.reproduction.runner import Runner
from kresp3d.experiments.reproduction.tables import row_config
from kresp3d.records.index import Records
from kresp3d.runs.run_folder import command_line
from kresp3d.system.errors import KrespError


def reproduce(runner: Runner, records: Records, console: Console) -> None:
    """Run what is not done yet, with a report that is written anew whenever a training has ended.

    Args:
        runner: What trains, in a folder that has begun.
        records: The prepared videos.
        console: Where progress and results are printed.

    Raises:
        UsageError: If a network cannot be built, or the trainings would fight for a GPU.
        KrespError: If there is nothing to train or to measure on; or a training failed, the others having been run.
    """
    videos = Counter(video.split for video in records.videos)
    _check_splits(runner.base, videos)
    models = {row: row_config(runner.base, row).model for row in runner.results().rows}
    surveyed = survey(models, len(records.classes), runner.base, records.split("train"), runner.jobs)
    check_gpus(runner.jobs, surveyed.gpus)
    facts = Facts(command_line(), videos, len(records.classes), surveyed)
    folder, display = runner.folder, ReproductionDisplay(runner, console)
    results = run_reported(
        runner, folder, display, display.show, lambda found: write_all(folder, found, facts), facts.command, console
    )
    print_results(console, results, judge(results.scores(), results.tables))
    say(console, f"Report: {folder.report_file}")
    if failed := results.with_status("failed"):
        first = failed[0]
        raise KrespError(
            f"{len(failed)} of {len(results.trainings)} trainings failed, such as {first.row} with seed {first.seed}: "
            f"{first.reason}; the others are in the report, and --resume tries again"
        )


def _check_splits(base: Config, videos: Mapping[str, int]) -> None:
    split = base.evaluation.split
    if not videos.get(split):
        raise KrespError(
            f"{base.data.videos} has no {split} videos, on which networks are compared; raise data.{split}, "
            "or name another evaluation.split"
        )
    if not videos.get("train"):
        raise KrespError(f"{base.data.videos} has no training videos; check how the data is split")

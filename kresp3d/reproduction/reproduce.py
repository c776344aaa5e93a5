"""A reproduction from beginning to end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

from rich.console import Console

from kresp3d.config import Config
from kresp3d.data.index import Records
from kresp3d.data.splits import count
from kresp3d.errors import KrespError, UsageError
from kresp3d.reproduction.cost import Survey, survey
from kresp3d.reproduction.display import ReproductionDisplay, print_results
from kresp3d.reproduction.report import Facts, write_all
from kresp3d.reproduction.runner import Runner, continue_command
from kresp3d.reproduction.tables import row_config
from kresp3d.run_folder import command_line


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
    surveyed = survey(models, len(records.classes))
    _check_gpus(runner.jobs, surveyed)
    facts = Facts(command_line(), videos, len(records.classes), surveyed)
    _run(runner, facts, console)
    results = runner.results()
    judgements = write_all(runner.folder, results, facts)
    print_results(console, results, judgements)
    _say(console, f"Report: {runner.folder.report_file}")
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


def _check_gpus(jobs: int, surveyed: Survey) -> None:
    if jobs > 1 and surveyed.gpus and os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH") != "true":
        raise UsageError(
            f"--jobs {jobs}: the first training would take all memory of the GPU ({surveyed.gpus[0]}); use --jobs 1, "
            "or let TensorFlow take what it needs by TF_FORCE_GPU_ALLOW_GROWTH=true in the environment"
        )


def _run(runner: Runner, facts: Facts, console: Console) -> None:
    results = runner.results()
    left = sum(result.status != "done" for result in results.trainings)
    _say(console, f"{count(len(results.trainings), 'training')}, {left} to do, in {runner.folder.path}")
    reported = -1

    with ReproductionDisplay(runner, console) as display:

        def on_change() -> None:
            nonlocal reported
            results = runner.results()
            display.show(results)
            ended = len(results.with_status("done", "failed"))
            if ended != reported:
                reported = ended
                write_all(runner.folder, results, facts)

        runner.on_change = on_change
        runner.on_epoch = lambda: display.show(runner.results())
        try:
            runner.run()
        except KeyboardInterrupt:
            write_all(runner.folder, runner.results(), facts)
            _say(console, f"Interrupted; go on with: {continue_command(facts.command)}")
            raise


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, soft_wrap=True, markup=False, highlight=False)

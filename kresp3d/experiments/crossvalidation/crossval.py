"""A cross-validation from beginning to end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from kresp3d.config.schema import Config, load_config
from kresp3d.datasets.catalog import read_entries
from kresp3d.datasets.copies import warn_of_copies
from kresp3d.datasets.splits import count
from kresp3d.experiments.cost import measure_rate, survey
from kresp3d.experiments.crossvalidation.display import CrossValidationDisplay, fold_table
from kresp3d.experiments.crossvalidation.folder import CrossValidationFolder
from kresp3d.experiments.crossvalidation.folds import Folds
from kresp3d.experiments.crossvalidation.plan import (
    Plan,
    choose_videos,
    decodable,
    make_plan,
    validation_fraction,
)
from kresp3d.experiments.crossvalidation.report import Facts, result_words, write_all
from kresp3d.experiments.crossvalidation.results import Results, pool
from kresp3d.experiments.crossvalidation.runner import Runner
from kresp3d.experiments.jobs import check_gpus, share_cores
from kresp3d.experiments.reported import run_reported, say
from kresp3d.records.index import Records
from kresp3d.runs.run_folder import command_line, settle_precision
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.machine import usable_cores
from kresp3d.system.storage import is_remote
from kresp3d.training.class_weights import class_weights
from kresp3d.training.plan import Videos, settle, tell
from kresp3d.training.preparation import prepare_with_progress, resolve_with_progress

logger = logging.getLogger("kresp3d")


def cross_validate(
    folder: CrossValidationFolder,
    config: Config,
    folds: Folds,
    console: Console,
    *,
    everything: bool = False,
    jobs: int = 1,
    resume: bool = False,
    overwrite: bool = False,
) -> Results:
    """Train and test a network for each fold, with a report that is written again whenever a fold has ended.

    Args:
        folder: Where to work; held by this process.
        config: What all folds share.
        folds: How many, or `group` for one fold for each group.
        console: Where progress and the result are printed.
        everything: Fold the test split that the data brings, too.
        jobs: Trainings at a time.
        resume: Go on in the folder.
        overwrite: Begin anew in a folder that holds a cross-validation.

    Raises:
        UsageError: If there cannot be such folds, or the network cannot be built or trained so.
        KrespError: If the videos allow no cross-validation, or a fold failed, the others having been run.
    """
    _check_config(config)
    data = resolve_with_progress(config.data)
    entries, left_out = choose_videos(read_entries(data), everything=everything)
    if left_out:
        say(
            console,
            f"The data brings a test split of its own: its {count(left_out, 'video')} are left out, and the other "
            f"{len(entries)} are cross-validated; --all takes all of them",
        )
    labels = [entry.label for entry in entries]
    class_weights(config, labels, sorted(set(labels)))
    # Once before videos are decoded, and once more before an earlier result is deleted.
    make_plan(entries, folds, config.data.split_seed, everything=everything, left_out=left_out)
    with _said_before():
        records = prepare_with_progress(config.data)
    plan = make_plan(
        decodable(entries, records), folds, config.data.split_seed, everything=everything, left_out=left_out
    )
    folder.begin(config, resume=resume, overwrite=overwrite)
    plan = _settle_plan(folder, plan)
    # More would only get a smaller share of the cores each.
    jobs = min(jobs, len(plan.numbers))
    config = _settle_config(folder, config, plan, records, jobs, console)
    surveyed = survey({"fold": config.model}, len(records.classes), config, records.videos, jobs)
    check_gpus(jobs, surveyed.gpus)
    _explain(plan, config, records, console)
    fold_of = {video.name: video.fold for video in plan.videos}
    warn_of_copies({e.name: e.path for e in entries if e.name in fold_of}, fold_of, "fold")
    runner = Runner(folder, config, plan, records, jobs)
    facts = Facts(command_line(), records.classes, records.index.get("bad", 0), surveyed)
    display = CrossValidationDisplay(runner, console)
    results = run_reported(
        runner, folder, display, display.show, lambda found: write_all(folder, found, facts), facts.command, console
    )
    _print(folder, results, facts, console)
    return results


def _check_config(config: Config) -> None:
    if config.compress.methods:
        raise UsageError(
            "compress.methods is for `kresp3d compress`; cross-validate with --set compress.methods=[], or without it"
        )
    if is_remote(config.data.videos):
        raise UsageError(
            f"data.videos is {config.data.videos}, in an object store; a cross-validation needs the videos on this "
            "machine's disks"
        )
    validation_fraction(config)


@contextmanager
def _said_before() -> Iterator[None]:
    """Keep back what `read_entries` has warned of already, and what is said of splits that no fold uses."""
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _settle_plan(folder: CrossValidationFolder, plan: Plan) -> Plan:
    """The plan that the folder began with; where there is none yet, it is written."""
    if folder.plan_file.is_file():
        begun = Plan.read(folder.plan_file)
        begun.check(plan, folder.path)
        return begun
    plan.write(folder.plan_file)
    return plan


def _settle_config(
    folder: CrossValidationFolder, config: Config, plan: Plan, records: Records, jobs: int, console: Console
) -> Config:
    """The configuration with nothing left at `auto`: settled once, since a cross-validation is of one configuration."""
    begun = load_config(folder.config_file)
    if not begun.auto:
        return begun
    smallest = plan.smallest(records, validation_fraction(config), config.data.split_seed)
    share = share_cores(usable_cores(), jobs)[0] if jobs > 1 else None
    settled = settle(
        config,
        Videos.of(smallest, config),
        lambda planned: measure_rate(settle_precision(planned), len(records.classes), share),
    )
    tell(settled)
    say(console, f"{settled}, for each fold")
    folder.settle(settled.config, settled.notes)
    return settled.config


def _explain(plan: Plan, config: Config, records: Records, console: Console) -> None:
    without = sum(video.group is None for video in plan.videos)
    if without:
        logger.warning(
            "%s: these are dealt one by one, so clips of one person or source may be on both sides, and the scores "
            "too good; name groups by data.group_regex or a CSV's group column",
            "the videos have no groups"
            if without == len(plan.videos)
            else f"{count(without, 'video')} without a group",
        )
    fraction = validation_fraction(config)
    groups = len({video.group for video in plan.videos if video.group is not None})
    say(
        console,
        f"{count(len(plan.videos), 'video')} of {count(len(records.classes), 'class', 'classes')}"
        + (f" and {count(groups, 'group')}" if groups else "")
        + f" in {count(len(plan.numbers), 'fold')}; "
        + (f"{100 * fraction:g} % of each training side is for validation" if fraction else "no validation videos"),
    )


def _print(folder: CrossValidationFolder, results: Results, facts: Facts, console: Console) -> None:
    console.print(fold_table(results))
    pooled = pool(folder, results, facts.classes)
    if pooled is not None:
        say(console, result_words(results, pooled).replace("*", ""))
    say(console, f"Report: {folder.report_file}")
    if failed := results.with_status("failed"):
        first = failed[0]
        raise KrespError(
            f"{len(failed)} of {len(results.trainings)} folds failed, such as fold {first.fold}: {first.reason}; the "
            "others are in the report, and --resume tries again"
        )

"""`report.md` of a cross-validation, its figure and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kresp3d.config.schema import SYNTHETIC
from kresp3d.datasets.splits import count
from kresp3d.evaluation.figures import confusion_figure, percent, save
from kresp3d.evaluation.markdown import code, escape, fenced, table
from kresp3d.experiments.cost import Survey
from kresp3d.experiments.crossvalidation.folder import CrossValidationFolder
from kresp3d.experiments.crossvalidation.plan import validation_fraction
from kresp3d.experiments.crossvalidation.results import MEASURES, Pool, Results, pool
from kresp3d.experiments.crossvalidation.tables import (
    write_folds,
    write_metrics,
    write_per_class,
    write_per_group,
    write_predictions,
)
from kresp3d.experiments.settings import machine_rows, network_rows
from kresp3d.system.files import remove, write_text
from kresp3d.system.text import clock

#: Rows of the tables of groups and classes; the CSV files have all.
SHOWN = 150
#: Groups that a fold's row names.
NAMED = 6

_RESULTS = ("predictions.csv", "per_class.csv", "per_group.csv", "figures")


@dataclass(frozen=True)
class Facts:
    """What a reader should know besides the results."""

    command: str
    classes: tuple[str, ...]
    bad: int
    """Videos that could not be decoded."""
    survey: Survey


def write_all(folder: CrossValidationFolder, results: Results, facts: Facts) -> None:
    """Write the tables, the figure and the report, in place of those of an earlier state."""
    pooled = pool(folder, results, facts.classes)
    if pooled is None:
        for name in _RESULTS:
            remove(folder.path / name)
    else:
        write_predictions(folder.path / "predictions.csv", pooled)
        write_per_class(folder.path / "per_class.csv", pooled)
        if pooled.by_group is not None:
            write_per_group(folder.path / "per_group.csv", pooled)
        figure = confusion_figure(pooled.evaluation.confusion, facts.classes)
        save(figure, folder.path / "figures" / "confusion.png")
    write_folds(folder.path / "folds.csv", results)
    write_metrics(folder.path / "metrics.json", results, pooled)
    write_text(folder.report_file, _markdown(folder, results, pooled, facts))


def _markdown(folder: CrossValidationFolder, results: Results, pooled: Pool | None, facts: Facts) -> str:
    sections = [f"# Cross-validation {results.base.name}", *_state(results)]
    if pooled is not None:
        sections += [result_words(results, pooled), *_headline(results, pooled), *_reading(results, pooled)]
    sections += [_data(results, facts), f"Made by\n\n{fenced(facts.command)}"]
    sections += ["## Folds", table(*_fold_rows(results)), *_failed(results)]
    if pooled is not None:
        sections += [*_groups(pooled), *_classes(pooled), *_errors(pooled)]
        sections += ["## Confusion matrix", "![confusion matrix](figures/confusion.png)"]
    sections += ["## Settings", table(["", ""], _setting_rows(folder, results, facts)), _files(pooled)]
    return "\n\n".join(sections) + "\n"


def _state(results: Results) -> list[str]:
    if results.is_complete:
        return []
    parts = [f"{len(results.with_status('done'))} of {len(results.trainings)} folds are done"]
    parts += [f"{len(found)} {status}" for status in ("running", "failed") if (found := results.with_status(status))]
    return [f"**Unfinished: {', '.join(parts)}.** What follows is known so far."]


def measured(results: Results, measure: str) -> str:
    """The mean of a measure over folds, and its standard deviation if there is one; a dash where nothing is known."""
    mean, deviation = results.mean(measure), results.deviation(measure)
    if mean is None:
        return "–"
    return f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}") + " %"


def result_words(results: Results, pooled: Pool) -> str:
    """The result in a sentence."""
    evaluation = pooled.evaluation
    right = round(evaluation.video_top1 * evaluation.videos)
    interval = pooled.interval
    unseen = "them" if pooled.by_group is None else "any video of their group"
    respects = "" if pooled.by_group is None else ", which respects groups"
    words = "" if interval is None else f"; 95 % interval {_span(interval)}{respects}"
    return (
        f"**{right} of {count(evaluation.videos, 'video')} were recognised by networks that were not trained on "
        f"{unseen}: {percent(evaluation.video_top1)}{words}.**"
    )


def _span(interval: tuple[float, float]) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}"


def _headline(results: Results, pooled: Pool) -> list[str]:
    evaluation = pooled.evaluation
    pools = {"video_top1": evaluation.video_top1, "balanced_accuracy": evaluation.mean_class_top1}
    rows = [[name, measured(results, key), percent(pools[key])] for key, name in MEASURES.items()]
    rows.append(["chance", "", percent(1 / len(evaluation.classes))])
    for key, name in (("majority", "always the most frequent class"), ("neighbours", "3 nearest neighbours")):
        if results.values(key):
            rows.append([name, measured(results, key), percent(results.pooled(key))])
    return [table(["", "mean ± sd over folds", "all videos together"], rows, right=(1, 2))]


def _reading(results: Results, pooled: Pool) -> list[str]:
    sentences = [
        "The standard deviation is that of the folds' own values. It is no error of the mean: folds share most of "
        "their training videos. Balanced accuracy is the mean of the classes' own accuracies (recalls); of a fold, "
        "over the classes that it tests. The baselines are measured on the same videos, by the training videos of "
        "each fold.",
    ]
    groups = pooled.by_group
    if groups is None:
        sentences.append(
            "The interval is Wilson's, which takes videos for independent. The videos have no groups: if several show "
            "one person or come from one recording, all figures are too good, and the interval is too narrow."
        )
    elif groups.interval is None:
        sentences.append(
            f"There is no interval that respects groups: {groups.reason}. Wilson's, which takes videos for "
            f"independent, is {_span(pooled.evaluation.video_top1_interval)}; it is too narrow where videos of one "
            "group are alike."
        )
    else:
        sentences.append(
            f"The interval is Wilson's of as many independent videos as these of {count(groups.units, 'group')} are "
            f"worth, by how much groups differ, with Student's t of {groups.units - 1} degrees of freedom. It says how "
            "the figure would differ with other groups, but not with other trainings."
        )
    return [" ".join(sentences)]


def _data(results: Results, facts: Facts) -> str:
    base, plan = results.base, results.plan
    source = "The embedded dataset" if base.data.videos == SYNTHETIC else code(base.data.videos)
    groups = len({video.group for video in plan.videos if video.group is not None})
    folds = "one fold for each group" if plan.folds == "group" else count(len(results.trainings), "fold")
    parts = [
        f"{source}: {count(len(plan.videos), 'video')} of {count(len(facts.classes), 'class', 'classes')}"
        + (f" and {count(groups, 'group')}" if groups else ", without groups")
        + f", {folds}."
    ]
    if plan.left_out:
        parts.append(f"The {count(plan.left_out, 'video')} of the data's own test split are left out (`--all`).")
    if facts.bad:
        parts.append(f"{count(facts.bad, 'video')} could not be decoded.")
    fraction = validation_fraction(base)
    parts.append(
        f"In each fold, about {100 * fraction:g} % of the other videos are for validation."
        if fraction
        else "In each fold, all other videos are for training; the last epoch is kept."
    )
    return " ".join(parts)


def _fold_rows(results: Results) -> tuple[list[str], list[list[str]], Sequence[int]]:
    has_groups = results.plan.has_groups
    head = ["fold", "training videos", "test videos", *MEASURES.values(), "time", *(["groups"] if has_groups else [])]
    rows = []
    for result in results.trainings:
        named = [escape(name) for name in result.groups[:NAMED]]
        more = f" and {len(result.groups) - NAMED} more" if len(result.groups) > NAMED else ""
        values = [percent(result.video_top1), percent(result.balanced_accuracy), clock(result.seconds)]
        rows.append(
            [
                str(result.fold),
                str(result.videos.get("train", 0)),
                str(result.videos["test"]),
                *(values if result.status == "done" else [result.status, "–", "–"]),
                *([", ".join(named) + more] if has_groups else []),
            ]
        )
    return head, rows, range(6)


def _failed(results: Results) -> list[str]:
    rows = [[str(result.fold), escape(result.reason)] for result in results.with_status("failed")]
    return ["## Failed", table(["fold", "reason"], rows)] if rows else []


def _groups(pooled: Pool) -> list[str]:
    found = pooled.by_group
    if found is None:
        return []
    folds = dict(zip(pooled.groups, pooled.folds, strict=True))
    rows = [
        [escape(row.name), str(folds[row.name]), str(row.videos), str(row.correct), percent(row.accuracy)]
        for row in found.rows[:SHOWN]
    ]
    return ["## Groups", table(["group", "fold", "videos", "correct", "video top-1"], rows, right=range(1, 5))]


def _classes(pooled: Pool) -> list[str]:
    found = sorted(pooled.evaluation.per_class, key=lambda row: 2.0 if row.recall is None else row.recall)
    rows = [
        [
            escape(row.name),
            str(row.videos),
            percent(row.recall),
            percent(row.precision),
            "" if row.confused_with is None else f"{escape(row.confused_with)} ({row.confused})",
        ]
        for row in found[:SHOWN]
    ]
    head = ["class", "videos", "recall", "precision", "most often taken for"]
    return ["## Classes", table(head, rows, right=range(1, 4))]


def _errors(pooled: Pool) -> list[str]:
    folds = dict(zip(pooled.evaluation.video_names, pooled.folds, strict=True))
    rows = [
        [code(said.name), escape(said.label), escape(said.predicted), f"{said.score:.3f}", str(folds[said.name])]
        for said in pooled.evaluation.worst_predictions(10)
    ]
    head = ["video", "class", "taken for", "score", "fold"]
    return ["## Wrong with the highest scores", table(head, rows, right=(3, 4))] if rows else []


def _setting_rows(folder: CrossValidationFolder, results: Results, facts: Facts) -> list[list[str]]:
    base = results.base
    kept = base.training.keep if validation_fraction(base) else "last"
    done = [folder.training(result.fold) for result in results.with_status("done")]
    cost = next(iter(facts.survey.costs.values()))
    rows = [
        *network_rows(base, kept, done),
        ("size", f"{cost.parameters / 1e6:.2f} M parameters, {cost.macs / 1e9:.3g} G multiply-adds for one clip"),
        ("seed", str(base.seed)),
        *machine_rows(facts.survey.gpus, done, sum(result.seconds for result in results.trainings)),
    ]
    return [[name, escape(value)] for name, value in rows if value]


def _files(pooled: Pool | None) -> str:
    names = ["metrics.json", "folds.csv"]
    if pooled is not None:
        names += ["predictions.csv", "per_class.csv", *(["per_group.csv"] if pooled.by_group is not None else [])]
    return f"All numbers: {', '.join(f'[{name}]({name})' for name in names)}. Which video is tested where: " + (
        "[folds.json](folds.json)."
    )

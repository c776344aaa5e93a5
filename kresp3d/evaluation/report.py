"""The report of an evaluation: `metrics.json`, `report.md`, tables as CSV and figures, all in one folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kresp3d.evaluation.assessment import Assessment
from kresp3d.evaluation.curve_figures import precision_recall_figure, roc_figure
from kresp3d.evaluation.figures import confusion_figure, history_figure, per_class_figure, percent, save, shorten
from kresp3d.evaluation.markdown import escape, fenced, table
from kresp3d.evaluation.sections import (
    binary_section,
    class_section,
    error_section,
    group_section,
    headline,
    overview,
    threshold_section,
)
from kresp3d.system.files import remove, write_csv, write_text
from kresp3d.system.text import printable

logger = logging.getLogger("kresp3d")

#: What `write_report` writes into a folder.
REPORT_FILES = ("metrics.json", "report.md", "predictions.csv", "per_class.csv", "per_group.csv", "figures")
#: Classes whose thresholds the console shows; the report has all.
_SHOWN_THRESHOLDS = 20


def write_report(
    folder: Path,
    assessment: Assessment,
    *,
    command: str,
    run_info: Mapping[str, str],
    history: Path | None = None,
    doubts: Sequence[str] = (),
) -> Path:
    """Write `per_class.csv`, `per_group.csv`, `predictions.csv`, `figures/`, `report.md`, and last `metrics.json`.

    Each file appears under its name only when whole, and replaces an earlier one.

    Args:
        folder: The run folder; made where it is missing.
        assessment: What was measured.
        command: The exact command that made the report.
        run_info: What else the reader should know of the run and its configuration, in this order.
        history: `history.csv` of the training, where there is one.
        doubts: Sentences on what the figures do not mean, which come first.

    Returns:
        The path of `report.md`.

    Raises:
        KrespError: If `history` is missing or is no training history.
    """
    evaluation = assessment.evaluation
    figures = {
        "confusion matrix": ("confusion.png", confusion_figure(evaluation.confusion, evaluation.classes)),
        "top-1 of each class": ("per_class.png", per_class_figure(evaluation.per_class)),
    }
    if assessment.curves.mean_auc is not None:
        figures["precision and recall"] = ("precision_recall.png", precision_recall_figure(assessment))
        figures["ROC curves"] = ("roc.png", roc_figure(assessment))
    if history is not None:
        figures["training history"] = ("history.png", history_figure(history))
    for name, figure in figures.values():
        save(figure, folder / "figures" / name)
    tables = ["metrics.json", "per_class.csv", "predictions.csv"]
    write_per_class(folder / "per_class.csv", assessment)
    write_predictions(folder / "predictions.csv", assessment)
    if assessment.group_results is None:
        remove(folder / "per_group.csv")
    else:
        write_per_group(folder / "per_group.csv", assessment)
        tables.append("per_group.csv")
    paragraphs = [
        f"# Evaluation on the {escape(evaluation.subject)}",
        *overview(assessment, doubts),
        f"Made by\n\n{fenced(command)}",
    ]
    if run_info:
        paragraphs += ["## Run", table(["", ""], [[escape(key), escape(value)] for key, value in run_info.items()])]
    for section in (binary_section, class_section, threshold_section, group_section, error_section):
        paragraphs += section(assessment)
    for title, (name, _) in figures.items():
        paragraphs += [f"## {title[:1].upper()}{title[1:]}", f"![{title}](figures/{name})"]
    paragraphs.append(f"All rows: {', '.join(f'[{name}]({name})' for name in tables)}.")
    report = _write(folder / "report.md", "\n\n".join(paragraphs) + "\n")
    # The last file, since it says that the run was measured.
    write_metrics(folder / "metrics.json", assessment)
    return report


def write_metrics(path: Path, assessment: Assessment) -> Path:
    """Write the measured values as JSON; see `Assessment.to_json`."""
    return _write(path, json.dumps(assessment.to_json(), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_per_class(path: Path, assessment: Assessment) -> Path:
    """Write one row for each class, with shares from 0 to 1 and empty cells where there is none."""
    rows = assessment.class_rows()
    return _write_csv(path, list(rows[0]), [list(row.values()) for row in rows])


def write_per_group(path: Path, assessment: Assessment) -> Path:
    """Write one row for each group, the worst first, with shares from 0 to 1."""
    results = assessment.group_results
    rows = [] if results is None else [[row.name, row.videos, row.correct, row.accuracy] for row in results.rows]
    return _write_csv(path, ["group", "videos", "correct", "accuracy"], rows)


def write_predictions(path: Path, assessment: Assessment) -> Path:
    """Write one row for each video.

    It has the video's name and label, the predicted class and its score, whether that is right, the group (empty where
    there is none), and the score of each class in a column `score_CLASS`.
    """
    evaluation = assessment.evaluation
    rows = [
        [p.name, p.label, p.predicted, f"{p.score:.6f}", int(p.correct), group or "", *(f"{s:.6f}" for s in scores)]
        for p, group, scores in zip(
            evaluation.predictions(), assessment.groups, evaluation.video_scores.tolist(), strict=True
        )
    ]
    head = ["name", "label", "predicted", "score", "correct", "group"]
    return _write_csv(path, [*head, *(f"score_{name}" for name in evaluation.classes)], rows)


def summary_table(assessment: Assessment) -> Table:
    """Clip and video accuracy with intervals, and below them the baselines, for the console."""
    evaluation = assessment.evaluation
    head, network, simple = headline(assessment)
    number = len(evaluation.classes)
    shown = _table(f"{evaluation.subject}, {number} {'class' if number == 1 else 'classes'}", head)
    for row in network:
        shown.add_row(*(Text(cell) for cell in row))
    shown.add_section()
    for row in simple:
        shown.add_row(*(Text(cell) for cell in row))
    return shown


def print_assessment(assessment: Assessment, console: Console, report: Path | None = None) -> None:
    """Print what was measured, where the report is, and whether the network is any good; warn if it is not."""
    unbeaten = [each for each in assessment.verdict.comparisons if each.outcome != "better"]
    if unbeaten:
        best = max(unbeaten, key=lambda each: each.accuracy)
        logger.warning(
            "the network's %s on these videos is not shown to be better than %s, which gives %s",
            percent(assessment.evaluation.video_top1),
            best.title,
            percent(best.accuracy),
        )
    for shown in (summary_table(assessment), threshold_table(assessment)):
        if shown is not None:
            console.print(shown)
    if report is not None:
        console.print(f"Report: {report}", markup=False)
    console.print(Text(assessment.verdict.sentence))


def threshold_table(assessment: Assessment) -> Table | None:
    """The threshold of each class for the wanted precision, for the console; `None` where none is wanted."""
    wanted = assessment.curves.wanted_precision
    if wanted is None:
        return None
    rows = list(zip(assessment.evaluation.classes, assessment.curves.classes, strict=True))
    title = f"thresholds for a precision of {100 * wanted:g} %"
    if len(rows) > _SHOWN_THRESHOLDS:
        title += f": {_SHOWN_THRESHOLDS} of {len(rows)} classes; the report has all"
    shown = _table(title, ["class", "threshold", "recall"])
    for name, curve in rows[:_SHOWN_THRESHOLDS]:
        threshold = "–" if curve.threshold is None else f"{curve.threshold:.4f}"
        shown.add_row(Text(shorten(printable(name), 40)), threshold, percent(curve.recall))
    return shown


def _table(title: str, head: Sequence[str]) -> Table:
    shown = Table(title=Text(title), title_justify="left")
    for number, column in enumerate(head):
        shown.add_column(column, justify="right" if number else "left")
    return shown


def _write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, head, rows)
    return path


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path

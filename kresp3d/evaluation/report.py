"""The report of an evaluation: `metrics.json`, `report.md`, tables as CSV and figures, all in one folder."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from kresp3d.evaluation.figures import confusion_figure, history_figure, per_class_figure, percent, save
from kresp3d.evaluation.metrics import ClassResult, Evaluation, Prediction
from kresp3d.files import write_text

#: Rows of the per-class table in `report.md`; `per_class.csv` has all.
_CLASS_ROWS = 150


def write_report(
    folder: Path,
    evaluation: Evaluation,
    *,
    command: str,
    run_info: Mapping[str, str],
    history: Path | None = None,
    doubts: Sequence[str] = (),
) -> Path:
    """Write `metrics.json`, `per_class.csv`, `predictions.csv`, `figures/` and last `report.md`, which shows them.

    Each file appears under its name only when whole, and replaces an earlier one.

    Args:
        folder: The run folder; made where it is missing.
        evaluation: What was measured.
        command: The exact command that made the report.
        run_info: What else the reader should know of the run and its configuration, in this order.
        history: `history.csv` of the training, where there is one.
        doubts: Sentences on what the figures do not mean, which come first.

    Returns:
        The path of `report.md`.

    Raises:
        KrespError: If `history` is missing or is no training history.
    """
    figures = {
        "confusion matrix": ("confusion.png", confusion_figure(evaluation.confusion, evaluation.classes)),
        "top-1 of each class": ("per_class.png", per_class_figure(evaluation.per_class)),
    }
    if history is not None:
        figures["training history"] = ("history.png", history_figure(history))
    for name, figure in figures.values():
        save(figure, folder / "figures" / name)
    write_per_class(folder / "per_class.csv", evaluation.per_class)
    write_predictions(folder / "predictions.csv", evaluation.predictions())
    images = {title: f"figures/{name}" for title, (name, _) in figures.items()}
    report = _write(folder / "report.md", _markdown(evaluation, command, run_info, images, doubts))
    # The last file, since it says that the run was measured.
    write_metrics(folder / "metrics.json", evaluation)
    return report


def write_metrics(path: Path, evaluation: Evaluation) -> Path:
    """Write the measured values as JSON; see `Evaluation.to_json`."""
    return _write(path, json.dumps(evaluation.to_json(), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_per_class(path: Path, rows: Iterable[ClassResult]) -> Path:
    """Write one row for each class, with shares from 0 to 1 and empty cells where there is none."""
    values = [row.to_json() for row in rows]
    return _write(path, _csv(list(values[0]), [list(row.values()) for row in values]))


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> Path:
    """Write one row for each video: its name, label, predicted class, the score of that and whether it is right."""
    rows = [[p.name, p.label, p.predicted, f"{p.score:.6f}", int(p.correct)] for p in predictions]
    return _write(path, _csv(["name", "label", "predicted", "score", "correct"], rows))


def summary_table(evaluation: Evaluation) -> Table:
    """Clip and video top-1 and top-k side by side, for the console."""
    head, *rows = _headline(evaluation)
    count = len(evaluation.classes)
    title = f"{evaluation.split} split, {count} {'class' if count == 1 else 'classes'}"
    table = Table(title=Text(title), title_justify="left")
    for number, column in enumerate(head):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _headline(evaluation: Evaluation) -> list[list[str]]:
    low, high = evaluation.video_top1_interval
    interval = f"{percent(low)} to {percent(high)}"
    table = [
        ["", "clip", "video", "95 % interval of video"],
        ["top-1", percent(evaluation.clip_top1), percent(evaluation.video_top1), interval],
        [f"top-{evaluation.k}", percent(evaluation.clip_top5), percent(evaluation.video_top5), ""],
        ["number", str(evaluation.clips), str(evaluation.videos), ""],
    ]
    # With one class, top-k is top-1.
    return table if evaluation.k > 1 else [row for number, row in enumerate(table) if number != 2]


def _markdown(
    evaluation: Evaluation,
    command: str,
    run_info: Mapping[str, str],
    images: Mapping[str, str],
    doubts: Sequence[str],
) -> str:
    head, *rows = _headline(evaluation)
    sections = [
        f"# Evaluation on the {evaluation.split} split",
        *(f"> **Mind:** {_escape(doubt)}." for doubt in doubts),
        _table(head, rows, right=range(1, len(head))),
        _reading(evaluation),
        f"Made by\n\n{_fenced(command)}",
    ]
    if run_info:
        sections += ["## Run", _table(["", ""], [[_escape(key), _escape(value)] for key, value in run_info.items()])]
    sections += _class_section(evaluation)
    sections += _error_section(evaluation)
    for title, path in images.items():
        sections += [f"## {title[:1].upper()}{title[1:]}", f"![{title}]({path})"]
    sections.append(
        "All rows: [metrics.json](metrics.json), [per_class.csv](per_class.csv), [predictions.csv](predictions.csv)."
    )
    return "\n\n".join(sections) + "\n"


def _reading(evaluation: Evaluation) -> str:
    sentences = [
        f"Clip scores are softmax scores; a video's scores are the mean over its clips ({evaluation.clips_per_video:g} "
        f"a video). Averaged over classes instead of videos, video top-1 is {percent(evaluation.mean_class_top1)}.",
        "The interval is Wilson's, as if videos were independent; with several videos of one person it is too narrow.",
    ]
    if evaluation.k == len(evaluation.classes):
        sentences.append(f"Top-{evaluation.k} covers all classes, so it is 100 % whatever the network says.")
    return " ".join(sentences)


def _class_section(evaluation: Evaluation) -> list[str]:
    rows = evaluation.per_class
    weakest = sorted(rows, key=lambda row: 2.0 if row.video_top1 is None else row.video_top1)[:_CLASS_ROWS]
    shown = rows if len(rows) <= _CLASS_ROWS else tuple(weakest)
    note = (
        "" if shown is rows else f"The weakest {len(shown)} of {len(rows)} classes; the others are in `per_class.csv`."
    )
    table = _table(
        ["class", "videos", "clip top-1", "video top-1", "precision", "most often taken for"],
        [
            [
                _escape(row.name),
                str(row.videos),
                percent(row.clip_top1),
                percent(row.video_top1),
                percent(row.precision),
                "" if row.confused_with is None else f"{_escape(row.confused_with)} ({row.confused})",
            ]
            for row in shown
        ],
        right=range(1, 5),
    )
    return [text for text in ("## Classes", note, table) if text]


def _error_section(evaluation: Evaluation) -> list[str]:
    pairs, worst = evaluation.confused_pairs(10), evaluation.worst_predictions(10)
    if not worst:
        return ["## Errors", "None: every video was recognised."]
    pair_rows = [[_escape(p.label), _escape(p.predicted), str(p.count), percent(p.share)] for p in pairs]
    video_rows = [
        [_code(p.name), _escape(p.label), _escape(p.predicted), f"{p.score:.3f}", f"{p.label_score:.3f}"] for p in worst
    ]
    return [
        "## Most frequent confusions",
        _table(["class", "taken for", "videos", "share of the class"], pair_rows, right=(2, 3)),
        "## Wrong with the highest scores",
        _table(["video", "class", "taken for", "score", "score of the class"], video_rows, right=(3, 4)),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    right = set(right)
    rule = ["---:" if column in right else "---" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _escape(text: str) -> str:
    """Make text appear in a Markdown table as it is."""
    text = re.sub(r"([\\`*|<>\[\]&~$#])", r"\\\1", " ".join(text.split()))
    # Between letters an underscore is no emphasis, and class names are full of those.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def _code(text: str) -> str:
    text = " ".join(text.split())
    ticks = "`" * (_longest_ticks(text) + 1)
    space = " " if "`" in text else ""
    return f"{ticks}{space}{text}{space}{ticks}".replace("|", r"\|")


def _fenced(text: str) -> str:
    fence = "`" * max(3, _longest_ticks(text) + 1)
    return f"{fence}\n{text}\n{fence}"


def _longest_ticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return buffer.getvalue()


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path

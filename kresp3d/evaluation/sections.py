"""The sections of `report.md`: functions that give paragraphs, and none where there is nothing to say."""

from __future__ import annotations

from collections.abc import Sequence

from kresp3d.datasets.splits import count
from kresp3d.evaluation.assessment import Assessment
from kresp3d.evaluation.baselines import NEIGHBOURS
from kresp3d.evaluation.figures import percent, shorten
from kresp3d.evaluation.groups import FEWEST_GROUPS
from kresp3d.evaluation.markdown import code, escape, table
from kresp3d.evaluation.mean_residual import PAIRS, SIDE
from kresp3d.evaluation.verdict import LEVEL
from kresp3d.system.text import printable

#: Rows of the table of classes; `per_class.csv` has all.
_CLASS_ROWS = 150
#: Rows of the table of groups; `per_group.csv` has all.
_GROUP_ROWS = 30


def headline(assessment: Assessment) -> tuple[list[str], list[list[str]], list[list[str]]]:
    """Make the table that comes first, in the report and on the console.

    Returns:
        Its head, the rows of the network and those of the baselines.
    """
    evaluation, baselines, groups = assessment.evaluation, assessment.baselines, assessment.group_results
    network = [
        ["top-1", percent(evaluation.clip_top1), percent(evaluation.video_top1), _span(evaluation.video_top1_interval)]
    ]
    if groups is not None and groups.interval is not None:
        network.append([f"  over {count(len(groups.rows), 'group')}", "", "", _span(groups.interval)])
    # With one class, top-k is top-1.
    if evaluation.k > 1:
        network.append([f"top-{evaluation.k}", percent(evaluation.clip_top5), percent(evaluation.video_top5), ""])
    network.append(["balanced accuracy", "", percent(assessment.balanced_accuracy), ""])
    network.append(["number", str(evaluation.clips), str(evaluation.videos), ""])
    majority = shorten(printable(evaluation.classes[baselines.majority]), 20)
    simple = [["chance", percent(baselines.chance)], [f"always '{majority}'", percent(baselines.majority_accuracy)]]
    if baselines.neighbours_accuracy is not None:
        simple.append([f"{NEIGHBOURS} nearest neighbours", percent(baselines.neighbours_accuracy)])
    return (
        ["", "clip", "video", "95 % interval of video"],
        network,
        [[name, "", accuracy, ""] for name, accuracy in simple],
    )


def _span(interval: tuple[float, float]) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}"


def overview(assessment: Assessment, doubts: Sequence[str]) -> list[str]:
    """The verdict, what to mind, the headline and how to read it."""
    head, network, simple = headline(assessment)
    rows = [[escape(row[0]), *row[1:]] for row in (*network, *simple)]
    return [
        f"**{escape(assessment.verdict.sentence)}**",
        *(f"> **Mind:** {escape(doubt)}." for doubt in doubts),
        table(head, rows, right=range(1, len(head))),
        " ".join(_scores(assessment) + _intervals(assessment)),
        " ".join(_baselines(assessment)),
    ]


def _scores(assessment: Assessment) -> list[str]:
    evaluation = assessment.evaluation
    sentences = [
        f"Clip scores are softmax scores; a video's scores are the mean over its clips ({evaluation.clips_per_video:g} "
        "a video).",
        "Balanced accuracy is the mean of the classes' own accuracies (recalls), so that each class weighs the same.",
    ]
    if evaluation.k == len(evaluation.classes):
        sentences.append(f"Top-{evaluation.k} covers all classes, so it is 100 % whatever the network says.")
    return sentences


def _intervals(assessment: Assessment) -> list[str]:
    groups = assessment.group_results
    wilson = "The first interval is Wilson's, which takes videos for independent."
    if groups is None:
        return [
            wilson.replace("first interval", "interval"),
            "The videos have no groups: if several show one person or come from one recording, it is too narrow.",
        ]
    if groups.interval is None:
        return [
            wilson.replace("first interval", "interval"),
            f"Videos of one group (a person or a recording) are alike, so it may be too narrow. There is no interval "
            f"that respects groups: {groups.reason}.",
        ]
    return [
        wilson,
        "Videos of one group (a person or a recording) are alike, so it may be too narrow. The second respects groups: "
        f"it is Wilson's of as many independent videos as these of {count(groups.units, 'group')} are worth, by how "
        f"much groups differ, with Student's t of {groups.units - 1} degrees of freedom.",
    ]


def _baselines(assessment: Assessment) -> list[str]:
    evaluation, baselines = assessment.evaluation, assessment.baselines
    majority = escape(printable(evaluation.classes[baselines.majority]))
    sentences = [
        "Simple baselines, on the same videos: chance draws one of "
        f"{count(len(evaluation.classes), 'class', 'classes')} by lot; no class has more "
        f"{'training' if baselines.knows_training else 'of these'} videos than '{majority}'.",
    ]
    if baselines.reason is None:
        sentences.append(
            f"A video's neighbours are the {NEIGHBOURS} training videos with the most similar mean residual frame: the "
            f"mean of |x\\[t+1\\] − x\\[t\\]| at {PAIRS} times spread over the video, of the grey centre square, "
            f"shrunk to {SIDE}×{SIDE} pixels. They are compared by Euclidean distance, without normalising, and a near "
            "one has more weight."
        )
    else:
        sentences.append(f"The nearest neighbours are left out: {escape(baselines.reason)}.")
    if assessment.verdict.comparisons:
        groups = assessment.group_results
        sentences.append(
            "The network is called better or worse only where an exact McNemar test on these videos (for chance, a "
            f"binomial test) gives p < {LEVEL:g}"
            + (
                "."
                if groups is None or groups.units < FEWEST_GROUPS
                else " and the 95 % interval of the difference, by Student's t over groups, leaves out 0."
            )
        )
    return sentences


def binary_section(assessment: Assessment) -> list[str]:
    """The metrics of two classes."""
    found = assessment.binary
    if found is None:
        return []
    where = "in training" if assessment.baselines.knows_training else "among these videos"
    why = "as chosen" if found.chosen else f"by default, since it is not the more frequent one {where}"
    change = "" if found.chosen else f" `--positive` takes the other, '{escape(found.negative)}'."
    rows = [
        ["sensitivity (recall)", percent(found.sensitivity)],
        ["specificity", percent(found.specificity)],
        ["precision", percent(found.precision)],
        ["F1", percent(found.f1)],
        ["AUC (ROC)", _decimal(found.auc)],
        ["average precision", _decimal(found.average_precision)],
        ["Matthews correlation", _decimal(found.mcc)],
    ]
    positive, negative = escape(found.positive), escape(found.negative)
    counts = [
        [f"'{positive}'", str(found.true_positives), str(found.false_negatives)],
        [f"'{negative}'", str(found.false_positives), str(found.true_negatives)],
    ]
    return [
        f"## '{positive}' as the positive class",
        f"The positive class is '{positive}', {why}.{change}",
        table(["", "video"], rows, right=[1]),
        table(["class", f"taken for '{positive}'", f"taken for '{negative}'"], counts, right=(1, 2)),
    ]


def class_section(assessment: Assessment) -> list[str]:
    """A row for each class."""
    rows = list(zip(assessment.evaluation.per_class, assessment.curves.classes, strict=True))
    shown, note = rows, ""
    if len(rows) > _CLASS_ROWS:
        shown = sorted(rows, key=lambda pair: 2.0 if pair[0].video_top1 is None else pair[0].video_top1)[:_CLASS_ROWS]
        note = f"The weakest {len(shown)} of {len(rows)} classes; the others are in `per_class.csv`."
    return [
        "## Classes",
        *([note] if note else []),
        table(
            ["class", "videos", "clip top-1", "video top-1", "precision", "AP", "AUC", "most often taken for"],
            [
                [
                    escape(row.name),
                    str(row.videos),
                    percent(row.clip_top1),
                    percent(row.video_top1),
                    percent(row.precision),
                    _decimal(curve.average_precision),
                    _decimal(curve.auc),
                    "" if row.confused_with is None else f"{escape(row.confused_with)} ({row.confused})",
                ]
                for row, curve in shown
            ],
            right=range(1, 7),
        ),
        "AP (average precision) and AUC (area under the ROC curve) are of the class's score against all other classes, "
        "over all thresholds. Their means over classes are "
        f"{_decimal(assessment.curves.mean_average_precision)} and {_decimal(assessment.curves.mean_auc)}.",
    ]


def threshold_section(assessment: Assessment) -> list[str]:
    """The threshold of each class that gives a wanted precision."""
    wanted = assessment.curves.wanted_precision
    if wanted is None:
        return []
    rows = list(zip(assessment.evaluation.classes, assessment.curves.classes, strict=True))
    shown = sorted(rows, key=lambda row: (-1.0 if row[1].recall is None else row[1].recall, row[0]))[:_CLASS_ROWS]
    some = "" if len(shown) == len(rows) else f" The {len(shown)} classes with the lowest recall are shown."
    return [
        f"## Thresholds for a precision of {100 * wanted:g} %",
        "A video is taken for a class if its score for the class is the threshold or more. The threshold is the lowest "
        f"that gives at least this precision here; a dash says that none does.{some} It was chosen by the videos that "
        "it is measured on, so on new ones precision and recall may be lower.",
        table(
            ["class", "threshold", "recall"],
            [[escape(name), _decimal(curve.threshold, 4), percent(curve.recall)] for name, curve in shown],
            right=(1, 2),
        ),
    ]


def group_section(assessment: Assessment) -> list[str]:
    """A row for each group, the worst first."""
    groups = assessment.group_results
    if groups is None:
        return []
    spread = groups.spread
    shown = groups.rows[:_GROUP_ROWS]
    sentence = f"The videos are of {count(len(groups.rows), 'group')}"
    sentence += f", and {groups.ungrouped} have none." if groups.ungrouped else "."
    if len(groups.rows) > 1:
        deviation = spread["standard_deviation"]
        sentence += (
            f" The groups' accuracies go from {percent(spread['lowest'])} to {percent(spread['highest'])}, with a "
            f"median of {percent(spread['median'])}, a mean of {percent(spread['mean'])} and a standard deviation of "
            f"{'–' if deviation is None else f'{100 * deviation:.1f}'} points."
        )
    if len(shown) < len(groups.rows):
        sentence += f" The worst {len(shown)} are shown; `per_group.csv` has all."
    return [
        "## Groups",
        sentence,
        table(
            ["group", "videos", "correct", "video top-1"],
            [[escape(row.name), str(row.videos), str(row.correct), percent(row.accuracy)] for row in shown],
            right=(1, 2, 3),
        ),
    ]


def error_section(assessment: Assessment) -> list[str]:
    """The most frequent confusions, and the videos that were most wrong."""
    evaluation = assessment.evaluation
    pairs, worst = evaluation.confused_pairs(10), evaluation.worst_predictions(10)
    if not worst:
        return ["## Errors", "None: every video was recognised."]
    pair_rows = [[escape(p.label), escape(p.predicted), str(p.count), percent(p.share)] for p in pairs]
    video_rows = [
        [code(p.name), escape(p.label), escape(p.predicted), f"{p.score:.3f}", f"{p.label_score:.3f}"] for p in worst
    ]
    return [
        "## Most frequent confusions",
        table(["class", "taken for", "videos", "share of the class"], pair_rows, right=(2, 3)),
        "## Wrong with the highest scores",
        table(["video", "class", "taken for", "score", "score of the class"], video_rows, right=(3, 4)),
    ]


def _decimal(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

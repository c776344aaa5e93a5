import csv
import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from kresp3d.evaluation.assessment import assess
from kresp3d.evaluation.metrics import evaluate_scores
from kresp3d.evaluation.report import summary_table, threshold_table, write_metrics, write_predictions, write_report
from kresp3d.system.errors import KrespError


def judged(evaluation, **more):
    """With as many training videos as measured ones, and neighbours that name class 0 each time."""
    videos = evaluation.videos
    arguments = {
        "train_labels": evaluation.video_labels,
        "groups": [None] * videos,
        "neighbours": np.zeros(videos, np.int64),
    }
    return assess(evaluation, **(arguments | more))


def evaluation(classes=("run", "walk", "wave"), wrong=True, **more):
    scores = np.full((6, len(classes)), 0.1 / (len(classes) - 1))
    scores[np.arange(6), [0, 0, 1, 1, 2 if wrong else 1, 2 if wrong else 1]] = 0.9
    names = [f"{classes[0]}/a.mp4", f"{classes[1]}/b.mp4", f"{classes[1]}/c|`d`.mp4"]
    return judged(evaluate_scores(scores, [0, 0, 1, 1, 2, 2], [0, 1, 1], classes, names), **more)


def two_classes(wrong=4, **more):
    """20 videos of each class, in groups of 8; the first ones of each class are wrong."""
    labels = np.repeat([0, 1], 20)
    best = labels.copy()
    best[: wrong // 2], best[20 : 20 + wrong // 2] = 1, 0
    scores = np.where(np.arange(2) == best[:, None], 0.75, 0.25)
    result = evaluate_scores(scores, np.arange(40), labels, ("fight", "walk"), [f"v{i}" for i in range(40)])
    return judged(result, **({"train_labels": np.array([0, 1, 1])} | more))


def tables(markdown):
    """The rows of each table, as lists of cells."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", markdown, flags=re.MULTILINE)
    split = [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()] for block in blocks]
    return [[[cell.strip() for cell in row] for row in block] for block in split]


def report(tmp_path, result, **changes):
    arguments = {"command": "kresp3d evaluate runs/a --split test", "run_info": {"epochs": "3"}}
    return write_report(tmp_path / "run", result, **(arguments | changes)).read_text(encoding="utf-8")


class TestReport:
    def test_writes_every_file_and_links_to_it(self, tmp_path):
        history = tmp_path / "history.csv"
        history.write_text("epoch,loss\n1,2.0\n")
        text = report(tmp_path, evaluation(), history=history)
        files = {p.relative_to(tmp_path / "run").as_posix() for p in (tmp_path / "run").rglob("*") if p.is_file()}
        names = ("confusion", "per_class", "history", "precision_recall", "roc")
        figures = {f"figures/{name}.png" for name in names}
        assert files == figures | {"report.md", "metrics.json", "per_class.csv", "predictions.csv"}
        assert set(re.findall(r"\]\(([^)]+)\)", text)) == files - {"report.md"}

    def test_headline_has_clip_and_video_side_by_side(self, tmp_path):
        rows = tables(report(tmp_path, evaluation()))[0]
        assert rows[0][:3] == ["", "clip", "video"]
        assert rows[2] == ["top-1", "66.7 %", "66.7 %", "20.8 % to 93.9 %"]
        assert rows[3] == ["top-3", "100.0 %", "100.0 %", ""]
        # One of one, and one of two.
        assert rows[4] == ["balanced accuracy", "", "75.0 %", ""]
        assert rows[5] == ["number", "6", "3", ""]

    def test_headline_has_the_baselines(self, tmp_path):
        rows = tables(report(tmp_path, evaluation()))[0]
        assert rows[6:] == [
            ["chance", "", "33.3 %", ""],
            ["always 'walk'", "", "66.7 %", ""],
            ["3 nearest neighbours", "", "33.3 %", ""],
        ]
        text = report(tmp_path, evaluation(neighbours=None, reason="the training videos are gone"))
        assert "nearest neighbours are left out: the training videos are gone." in text
        assert len(tables(text)[0]) == 8

    def test_the_verdict_comes_first(self, tmp_path):
        result = evaluation()
        text = report(tmp_path, result, doubts=["old"])
        lines = [line for line in text.splitlines() if line]
        assert lines[1] == f"**{result.verdict.sentence}**"
        assert "not better than always saying 'walk' (66.7 %)" in lines[1]
        assert lines[2] == "> **Mind:** old."

    def test_groups_are_listed_with_the_worst_first_and_an_interval(self, tmp_path):
        groups = [f"p{number // 8}" for number in range(40)]
        text = report(tmp_path, two_classes(groups=groups))
        head, group_rows = tables(text)[0], next(table for table in tables(text) if table[0][0] == "group")
        assert group_rows[2:] == [
            ["p0", "8", "6", "75.0 %"],
            ["p2", "8", "6", "75.0 %"],
            ["p1", "8", "8", "100.0 %"],
            ["p3", "8", "8", "100.0 %"],
            ["p4", "8", "8", "100.0 %"],
        ]
        assert head[3][0] == "over 5 groups" and re.fullmatch(r"\d+\.\d % to \d+\.\d %", head[3][3])
        with (tmp_path / "run" / "per_group.csv").open(newline="") as file:
            assert list(csv.reader(file))[:2] == [["group", "videos", "correct", "accuracy"], ["p0", "8", "6", "0.75"]]
        assert "[per_group.csv](per_group.csv)" in text

    def test_without_groups_an_earlier_table_of_them_goes(self, tmp_path):
        report(tmp_path, two_classes(groups=["a"] * 40))
        assert (tmp_path / "run" / "per_group.csv").exists()
        assert "have no groups" in report(tmp_path, two_classes())
        assert not (tmp_path / "run" / "per_group.csv").exists()

    def test_many_groups_show_the_worst(self, tmp_path):
        text = report(tmp_path, two_classes(groups=[f"g{i:02}" for i in range(40)]))
        rows = next(table for table in tables(text) if table[0][0] == "group")[2:]
        assert len(rows) == 30
        assert [row[0] for row in rows[:5]] == ["g00", "g01", "g20", "g21", "g02"]
        assert len((tmp_path / "run" / "per_group.csv").read_text().splitlines()) == 41

    def test_two_classes_have_the_metrics_of_the_positive_one(self, tmp_path):
        text = report(tmp_path, two_classes())
        assert "## 'fight' as the positive class" in text and "by default" in text
        rows = dict(next(table[2:] for table in tables(text) if table[2][0] == "sensitivity (recall)"))
        assert rows["sensitivity (recall)"] == rows["specificity"] == rows["precision"] == rows["F1"] == "90.0 %"
        assert rows["Matthews correlation"] == "0.800"
        assert "## 'walk' as the positive class" in report(tmp_path, two_classes(positive="walk"))
        assert "positive class" not in report(tmp_path, evaluation())

    def test_thresholds_for_a_precision(self, tmp_path):
        text = report(tmp_path, two_classes(precision=0.9))
        assert "## Thresholds for a precision of 90 %" in text
        rows = next(table for table in tables(text) if "threshold" in table[0])
        assert rows[2:] == [["fight", "0.7500", "90.0 %"], ["walk", "0.7500", "90.0 %"]]
        with (tmp_path / "run" / "per_class.csv").open(newline="") as file:
            assert [row["threshold_at_precision"] for row in csv.DictReader(file)] == ["0.75", "0.75"]
        rows = tables(report(tmp_path, two_classes(precision=0.95)))
        assert next(table for table in rows if "threshold" in table[0])[2] == ["fight", "–", "–"]

    def test_says_the_command_and_the_run(self, tmp_path):
        text = report(tmp_path, evaluation())
        assert "```\nkresp3d evaluate runs/a --split test\n```" in text
        assert ["epochs", "3"] in tables(text)[1]

    def test_says_that_top_k_of_all_classes_says_nothing(self, tmp_path):
        note = "Top-3 covers all classes"
        assert note in report(tmp_path, evaluation())
        assert "covers all classes" not in report(tmp_path, evaluation(tuple("abcdef")))

    def test_lists_classes_confusions_and_wrong_videos(self, tmp_path):
        text = report(tmp_path, evaluation(), run_info={})
        _, classes, pairs, videos = tables(text)
        # The scores for "walk" are, of its own videos, 0.9 and 0.05, and 0.05 of the other.
        assert classes[3] == ["walk", "2", "50.0 %", "50.0 %", "100.0 %", "0.833", "0.750", "wave (1)"]
        assert classes[4] == ["wave", "0", "–", "–", "0.0 %", "–", "–", ""]
        assert pairs[2:] == [["walk", "wave", "1", "50.0 %"]]
        assert videos[2:] == [[r"`` walk/c\|`d`.mp4 ``", "walk", "wave", "0.900", "0.050"]]

    def test_without_errors_it_says_so(self, tmp_path):
        text = report(tmp_path, evaluation(wrong=False))
        assert "every video was recognised" in text
        assert "confusions" not in text

    def test_markup_in_names_breaks_no_table(self, tmp_path):
        text = report(tmp_path, evaluation(("a|b", "*c*_d\ne", "<f>[g](h)")), run_info={"x|y": "1|2"})
        for table in tables(text):
            assert len({len(row) for row in table}) == 1
        assert r"\*c\*\_d e" in text
        assert r"\<f\>\[g\](h)" in text

    def test_many_classes_show_the_weakest(self, tmp_path):
        classes = [f"c{i:03d}" for i in range(160)]
        scores = np.eye(160)
        scores[159] = scores[0]
        result = judged(evaluate_scores(scores, np.arange(160), np.arange(160), classes, [f"v{i}" for i in range(160)]))
        text = report(tmp_path, result, run_info={})
        assert "The weakest 150 of 160 classes" in text
        rows = tables(text)[1][2:]
        assert len(rows) == 150
        assert rows[0][0] == "c159"
        assert len((tmp_path / "run" / "per_class.csv").read_text().splitlines()) == 161

    def test_a_missing_history_leaves_no_report(self, tmp_path):
        with pytest.raises(KrespError, match="not found"):
            report(tmp_path, evaluation(), history=tmp_path / "history.csv")
        assert not (tmp_path / "run" / "report.md").exists()

    def test_csv_tables_read_back(self, tmp_path):
        report(tmp_path, evaluation(("a,b", 'c"d', "e\nf"), groups=[None, "p,1", "p2"]))
        with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows[2] == {
            "name": 'c"d/c|`d`.mp4',
            "label": 'c"d',
            "predicted": "e\nf",
            "score": "0.900000",
            "correct": "0",
            "group": "p2",
            "score_a,b": "0.050000",
            'score_c"d': "0.050000",
            "score_e\nf": "0.900000",
        }
        with (tmp_path / "run" / "per_class.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["class"] for row in rows] == ["a,b", 'c"d', "e\nf"]
        assert float(rows[1]["video_top1"]) == 0.5
        assert rows[2]["video_top1"] == ""


def test_metrics_read_back(tmp_path):
    result = evaluation(("é", "b", "c"))
    values = json.loads(write_metrics(tmp_path / "deep" / "metrics.json", result).read_text(encoding="utf-8"))
    assert values == result.to_json()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["metrics.json"]


def test_a_failed_write_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("earlier")
    result = evaluation(("a", "\ud800", "c"))
    with pytest.raises(UnicodeEncodeError):
        write_predictions(path, result)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


class TestSummary:
    def printed(self, result, width=100):
        console = Console(file=io.StringIO(), width=width)
        console.print(summary_table(result))
        return console.file.getvalue()

    def test_clip_and_video_stand_side_by_side(self):
        text = self.printed(evaluation())
        assert "test split, 3 classes" in text
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
        assert rows == [
            ["top-1", "66.7 %", "66.7 %", "20.8 % to 93.9 %"],
            ["top-3", "100.0 %", "100.0 %", ""],
            ["balanced accuracy", "", "75.0 %", ""],
            ["number", "6", "3", ""],
            ["chance", "", "33.3 %", ""],
            ["always 'walk'", "", "66.7 %", ""],
            ["3 nearest neighbours", "", "33.3 %", ""],
        ]

    def test_a_table_of_long_names_and_groups_fits_into_80_columns(self):
        classes = ("[red]a" + 40 * "long", "b")
        result = two_classes(groups=[f"p{number // 2}" for number in range(40)])
        scores = result.evaluation.video_scores
        named = evaluate_scores(scores, np.arange(40), np.repeat([0, 1], 20), classes, [str(i) for i in range(40)])
        more = {"groups": result.groups, "train_labels": np.array([0]), "precision": 0.5}
        lines = self.printed(judged(named, **more), width=80).splitlines()
        assert max(len(line) for line in lines) <= 80
        assert all("│" not in line or line.count("│") == 5 for line in lines)
        # Not taken for a colour.
        assert any("always '[red]along" in line for line in lines)

    def test_thresholds_are_shown_where_a_precision_is_wanted(self):
        assert threshold_table(two_classes()) is None
        console = Console(file=io.StringIO(), width=80)
        console.print(threshold_table(two_classes(precision=0.9)))
        assert re.search(r"fight +│ +0\.7500 │ 90\.0 %", console.file.getvalue())

    def test_one_class_has_no_second_top_1(self):
        text = self.printed(judged(evaluate_scores([[1.0]], [0], [0], ["walk"], ["a"])))
        assert "1 class" in text
        assert text.count("top-1") == 1

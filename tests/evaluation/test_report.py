import csv
import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from kresp3d.errors import KrespError
from kresp3d.evaluation.metrics import evaluate_scores
from kresp3d.evaluation.report import summary_table, write_metrics, write_predictions, write_report


def evaluation(classes=("run", "walk", "wave"), wrong=True):
    scores = np.full((6, len(classes)), 0.1 / (len(classes) - 1))
    scores[np.arange(6), [0, 0, 1, 1, 2 if wrong else 1, 2 if wrong else 1]] = 0.9
    names = [f"{classes[0]}/a.mp4", f"{classes[1]}/b.mp4", f"{classes[1]}/c|`d`.mp4"]
    return evaluate_scores(scores, [0, 0, 1, 1, 2, 2], [0, 1, 1], classes, names)


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
        figures = {"figures/confusion.png", "figures/per_class.png", "figures/history.png"}
        assert files == figures | {"report.md", "metrics.json", "per_class.csv", "predictions.csv"}
        assert set(re.findall(r"\]\(([^)]+)\)", text)) == files - {"report.md"}

    def test_headline_has_clip_and_video_side_by_side(self, tmp_path):
        rows = tables(report(tmp_path, evaluation()))[0]
        assert rows[0][:3] == ["", "clip", "video"]
        assert rows[2] == ["top-1", "66.7 %", "66.7 %", "20.8 % to 93.9 %"]
        assert rows[3] == ["top-3", "100.0 %", "100.0 %", ""]
        assert rows[4] == ["number", "6", "3", ""]

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
        assert classes[3] == ["walk", "2", "50.0 %", "50.0 %", "100.0 %", "wave (1)"]
        assert classes[4] == ["wave", "0", "–", "–", "0.0 %", ""]
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
        result = evaluate_scores(scores, np.arange(160), np.arange(160), classes, [f"v{i}" for i in range(160)])
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
        report(tmp_path, evaluation(("a,b", 'c"d', "e\nf")))
        with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows[2] == {
            "name": 'c"d/c|`d`.mp4',
            "label": 'c"d',
            "predicted": "e\nf",
            "score": "0.900000",
            "correct": "0",
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
        write_predictions(path, result.predictions())
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


class TestSummary:
    def printed(self, result):
        console = Console(file=io.StringIO(), width=100)
        console.print(summary_table(result))
        return console.file.getvalue()

    def test_clip_and_video_stand_side_by_side(self):
        text = self.printed(evaluation())
        assert "test split, 3 classes" in text
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
        assert rows == [
            ["top-1", "66.7 %", "66.7 %", "20.8 % to 93.9 %"],
            ["top-3", "100.0 %", "100.0 %", ""],
            ["number", "6", "3", ""],
        ]

    def test_one_class_has_no_second_top_1(self):
        text = self.printed(evaluate_scores([[1.0]], [0], [0], ["walk"], ["a"]))
        assert "1 class" in text
        assert text.count("top-1") == 1

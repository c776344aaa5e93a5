from __future__ import annotations

import csv
import json

import pytest

from kresp3d.experiments.reproduction.claims import judge
from kresp3d.experiments.reproduction.results import Mean, read_result, write_claims, write_results, write_tables
from kresp3d.training.process import Training


def rows_of_file(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def training(tmp_path):
    return Training(tmp_path / "rgb" / "seed-0")


def finish(training, epochs=2, classes=10):
    training.path.mkdir(parents=True, exist_ok=True)
    training.run.config_file.write_text("training: {epochs: 2}")
    training.run.training_file.write_text('{"epochs": 2, "kept_epoch": 2, "seconds": 12.5}')
    training.run.history_file.write_text("epoch\n" + "".join(f"{n + 1}\n" for n in range(epochs)))
    metrics = {"top_k": min(5, classes), "classes": classes, "clip_top1": 0.4, "clip_top5": 0.8}
    (training.path / "metrics.json").write_text(json.dumps({**metrics, "video_top1": 0.5, "video_top5": 0.9}))


def test_the_files_say_how_far_a_training_is(training):
    finish(training, epochs=1)
    unfinished = read_result(training, "rgb", 0, "unfinished")
    assert (unfinished.status, unfinished.epochs, unfinished.scores) == ("unfinished", 1, None)
    failed = read_result(training, "rgb", 0, "failed", "no memory")
    assert (failed.status, failed.reason, failed.scores) == ("failed", "no memory", None)
    finish(training)
    done = read_result(training, "rgb", 0, "done", "no memory")
    assert (done.status, done.epochs, done.seconds, done.reason) == ("done", 2, 12.5, "")
    assert done.scores == {"clip_top1": 0.4, "clip_top5": 0.8, "video_top1": 0.5, "video_top5": 0.9}


def test_top_5_of_five_classes_is_no_score(training):
    finish(training, classes=5)
    assert read_result(training, "rgb", 0, "done").scores == {
        **{"clip_top1": 0.4, "clip_top5": None, "video_top1": 0.5, "video_top5": None}
    }


def test_a_mean_needs_one_value_and_a_spread_two():
    assert (Mean(()).mean, Mean(()).spread) == (None, None)
    assert (Mean((0.5,)).mean, Mean((0.5,)).spread) == (0.5, None)
    assert Mean((0.4, 0.6)).mean == pytest.approx(0.5) and Mean((0.4, 0.6)).spread == pytest.approx(0.1 * 2**0.5)


def test_results_has_a_line_for_each_training(make_results, facts, tmp_path):
    results = make_results({"rgb": [0.5, "no memory"], "residual": [0.25]}, tables=(2,), top5=None)
    write_results(tmp_path / "results.csv", results, facts.survey.costs)
    rows = rows_of_file(tmp_path / "results.csv")
    assert [(row["row"], row["seed"], row["status"]) for row in rows[:2]] == [
        ("rgb", "0", "done"),
        ("residual", "0", "done"),
    ]
    assert len(rows) == 8 and rows[4]["reason"] == "no memory" and rows[4]["video_top1"] == ""
    assert (rows[0]["video_top1"], rows[0]["clip_top1"], rows[0]["video_top5"]) == ("0.500000", "0.480000", "")
    assert (rows[0]["parameters"], rows[1]["parameters"]) == ("32800000", "32800001")
    assert (rows[0]["seconds"], rows[0]["epochs"], rows[7]["status"]) == ("60.0", "3", "waiting")


def test_tables_has_a_line_for_each_of_theirs_and_shared_rows_twice(make_results, scores, facts, tmp_path):
    write_tables(tmp_path / "tables.csv", make_results(scores), facts.survey.costs)
    rows = rows_of_file(tmp_path / "tables.csv")
    assert [row["table"] for row in rows] == ["2"] * 4 + ["3"] * 3 + ["4"] * 4
    both = [row for row in rows if row["row"] == "both"]
    assert [row["label"] for row in both] == ["RGB + residual", "full module"]
    assert all((row["video_top1"], row["seeds"], row["paper_top1"]) == ("0.910000", "3", "0.856") for row in both)
    assert both[0]["video_top1_sd"] == "0.010000" and (both[0]["paper_top5"], both[1]["paper_top5"]) == ("0.992", "")


def test_claims_has_a_line_for_each_comparison(make_results, scores, tmp_path):
    results = make_results(scores)
    write_claims(tmp_path / "claims.csv", judge(results.scores(), results.tables))
    rows = rows_of_file(tmp_path / "claims.csv")
    assert [(row["better"], row["worse"]) for row in rows[:3]] == [
        ("both", "residual"),
        ("residual", "rgb"),
        ("both", "full3d"),
    ]
    assert len(rows) == 9 and rows[0]["claim_verdict"] == rows[0]["verdict"] == "supported"
    assert float(rows[0]["difference"]) == pytest.approx(0.1) and rows[0]["paper_difference"] == "0.026"
    assert rows[2]["verdict"] == "undecided" and float(rows[2]["low"]) < 0 < float(rows[2]["high"])

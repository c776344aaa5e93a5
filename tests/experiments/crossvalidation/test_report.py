from __future__ import annotations

import csv
import json
import re

import pytest

from kresp3d.experiments.cost import Cost, Survey
from kresp3d.experiments.crossvalidation.report import Facts, write_all
from kresp3d.experiments.crossvalidation.runner import Runner

CLASSES = ("bend", "jump", "walk")
FACTS = Facts("kresp3d crossval -c small.yaml --folds 3", CLASSES, 1, Survey({"fold": Cost(32_800_000, 10**9)}, ()))


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def write(folder, base):
    """`write(plan, failures)` writes the report of what is in the folder, and gives its text."""

    def write(plan, failures=()):
        runner = Runner(folder, base, plan, None)
        runner.trainings.failures.update(failures)
        write_all(folder, runner.results(), FACTS)
        return folder.report_file.read_text(encoding="utf-8")

    return write


def test_the_report_has_mean_pool_groups_and_classes(folder, make_plan, finish, write):
    plan = make_plan()
    finish(folder, plan, 1, wrong=["bend_p0.mp4", "bend_p3.mp4", "jump_p0.mp4"])
    for fold in (2, 3):
        finish(folder, plan, fold)
    text = write(plan)
    assert "**15 of 18 videos were recognised" in text and "83.3 %; 95 % interval" in text and "respects groups" in text
    # Shares of the folds: 50, 100 and 100; recalls of the pool: 4/6, 5/6 and 1.
    assert "| video top-1 | 83.3 ± 28.9 % | 83.3 % |" in text
    assert "| balanced accuracy | 83.3 ± 28.9 % | 83.3 % |" in text
    assert "| chance |  | 33.3 % |" in text and "| 3 nearest neighbours | 50.0 ± 0.0 % | 50.0 % |" in text
    assert "| 1 | 12 | 6 | 50.0 % | 50.0 % | 0:30 | p0, p3 |" in text
    assert "| p0 | 1 | 3 | 1 | 33.3 % |" in text and "| bend | 6 | 66.7 % | 100.0 % | jump (2) |" in text
    assert "Unfinished" not in text and "1 video could not be decoded" in text
    for name in re.findall(r"\]\(([\w./]+)\)", text):
        assert (folder.path / name).exists() or name == "folds.json"

    rows = read(folder.path / "predictions.csv")
    assert len(rows) == 18 and [row["name"] for row in rows if row["correct"] == "0"] == [
        "bend_p0.mp4",
        "bend_p3.mp4",
        "jump_p0.mp4",
    ]
    assert rows[0] == {
        **{"name": "bend_p0.mp4", "label": "bend", "predicted": "jump", "score": "0.800000", "correct": "0"},
        **{"group": "p0", "fold": "1"},
        **{"score_bend": "0.100000", "score_jump": "0.800000", "score_walk": "0.100000"},
    }
    assert [row["video_top1"] for row in read(folder.path / "folds.csv")] == ["0.500000", "1.000000", "1.000000"]
    metrics = json.loads((folder.path / "metrics.json").read_text())
    assert metrics["complete"] and metrics["pooled"]["confusion"] == [[4, 2, 0], [0, 5, 1], [0, 0, 6]]
    assert metrics["over_folds"]["video_top1"]["mean"] == pytest.approx(2.5 / 3)
    assert metrics["pooled"]["groups"]["number"] == 6 and metrics["pooled"]["neighbours"] == 0.5


def test_a_state_on_the_way_says_what_is_known(folder, make_plan, finish, write):
    plan = make_plan()
    text = write(plan, {1: "the loss | became nan"})
    assert "**Unfinished: 0 of 3 folds are done, 1 failed.**" in text and "recognised" not in text
    assert not (folder.path / "predictions.csv").exists() and not (folder.path / "figures").exists()
    finish(folder, plan, 2)
    text = write(plan, {1: "the loss | became nan"})
    assert "**Unfinished: 1 of 3 folds are done, 1 failed.**" in text and r"| 1 | the loss \| became nan |" in text
    assert [row["status"] for row in read(folder.path / "folds.csv")] == ["failed", "done", "waiting"]
    assert len(read(folder.path / "predictions.csv")) == 6
    metrics = json.loads((folder.path / "metrics.json").read_text())
    assert (metrics["complete"], metrics["done"], list(metrics["failed"])) == (False, [2], ["1"])


def test_without_groups_the_report_says_what_that_means(folder, make_plan, finish, write):
    plan = make_plan(has_groups=False)
    for fold in plan.numbers:
        finish(folder, plan, fold)
    text = write(plan)
    assert "The videos have no groups" in text and "## Groups" not in text and "without groups" in text
    assert not (folder.path / "per_group.csv").exists()

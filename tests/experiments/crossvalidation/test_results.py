from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from kresp3d.experiments.crossvalidation.results import Results, pool, read_fold
from kresp3d.system.errors import KrespError

CLASSES = ("bend", "jump", "walk")


def results_of(folder, base, plan, statuses):
    found = []
    for fold, status in zip(plan.numbers, statuses, strict=True):
        videos = Counter(plan.splits(fold, 0.0, 0).values())
        found.append(read_fold(folder.training(fold), plan, fold, videos, status, "no memory"))
    return Results(base, plan, tuple(found))


def test_folds_are_averaged_with_their_deviation_and_pooled_video_by_video(folder, base, make_plan, finish):
    # 5 groups in 3 folds: 6, 6 and 3 videos, of which 2, 0 and 1 are wrong.
    plan = make_plan(groups=5)
    finish(folder, plan, 1, wrong=["bend_p0.mp4", "jump_p3.mp4"])
    finish(folder, plan, 2)
    finish(folder, plan, 3, wrong=["bend_p2.mp4"])
    results = results_of(folder, base, plan, ["done"] * 3)
    assert results.is_complete
    values = [4 / 6, 1.0, 2 / 3]
    assert results.values("video_top1") == pytest.approx(values)
    assert results.mean("video_top1") == pytest.approx(np.mean(values))
    assert results.deviation("video_top1") == pytest.approx(np.std(values, ddof=1))
    assert results.pooled("video_top1") == pytest.approx(12 / 15)

    found = pool(folder, results, CLASSES)
    assert found.evaluation.video_top1 == pytest.approx(12 / 15)
    assert found.evaluation.video_names == tuple(sorted(video.name for video in plan.videos))
    assert found.evaluation.confusion.tolist() == [[3, 2, 0], [0, 4, 1], [0, 0, 5]]
    # Recalls of bend, jump and walk.
    assert found.evaluation.mean_class_top1 == pytest.approx((3 / 5 + 4 / 5 + 1) / 3)
    assert dict(zip(found.evaluation.video_names, found.folds, strict=True)) == {v.name: v.fold for v in plan.videos}
    assert {row.name: (row.videos, row.correct) for row in found.by_group.rows} == {
        **{"p0": (3, 2), "p1": (3, 3), "p2": (3, 2), "p3": (3, 2), "p4": (3, 3)}
    }
    low, high = found.interval
    assert low < 12 / 15 < high and found.interval == found.by_group.interval


def test_what_is_not_done_takes_no_part(folder, base, make_plan, finish):
    plan = make_plan()
    assert pool(folder, results_of(folder, base, plan, ["failed", "waiting", "waiting"]), CLASSES) is None
    finish(folder, plan, 2, wrong=["walk_p1.mp4"])
    results = results_of(folder, base, plan, ["failed", "done", "waiting"])
    assert not results.is_complete and results.deviation("video_top1") is None
    assert [result.reason for result in results.trainings] == ["no memory", "", ""]
    assert [result.groups for result in results.trainings] == [("p0", "p3"), ("p1", "p4"), ("p2", "p5")]
    found = pool(folder, results, CLASSES)
    assert found.evaluation.videos == 6 and set(found.folds) == {2}


def test_without_groups_the_interval_is_wilsons(folder, base, make_plan, finish):
    plan = make_plan(has_groups=False)
    finish(folder, plan, 1)
    found = pool(folder, results_of(folder, base, plan, ["done", "waiting", "waiting"]), CLASSES)
    assert found.by_group is None and found.interval == found.evaluation.video_top1_interval


def test_a_damaged_table_of_a_fold_is_named(folder, base, make_plan, finish):
    plan = make_plan()
    finish(folder, plan, 1)
    results = results_of(folder, base, plan, ["done", "waiting", "waiting"])
    (folder.training(1).path / "predictions.csv").write_text("name,label\nbend_p0.mp4,bend\n")
    with pytest.raises(KrespError, match=r"fold-1/predictions.csv is missing or damaged .* `kresp3d evaluate"):
        pool(folder, results, CLASSES)

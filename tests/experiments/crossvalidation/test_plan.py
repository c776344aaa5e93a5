from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.config.schema import parse_config
from kresp3d.datasets.splits import Entry
from kresp3d.experiments.crossvalidation import plan as plans
from kresp3d.experiments.crossvalidation.plan import FoldVideo, Plan, choose_videos, fold_config, validation_fraction
from kresp3d.records.index import Record, Records
from kresp3d.system.errors import KrespError, UsageError


@given(st.integers(3, 12), st.integers(2, 3), st.sampled_from([0.0, 0.2, 0.5]), st.booleans())
def test_a_fold_has_no_group_on_two_sides_and_learns_all_classes(groups, folds, validation, has_groups):
    videos = [
        Entry(Path(f"{label}{n}"), f"{label}{n}", label, f"p{n}" if has_groups else None)
        for label in "abc"
        for n in range(groups)
    ]
    plan = plans.make_plan(videos, folds, 0, everything=False, left_out=0)
    for fold in plan.numbers:
        splits = plan.splits(fold, validation, seed=0)
        assert [name for name, side in splits.items() if side == "test"] == [v.name for v in plan.tested(fold)]
        assert ("validation" in splits.values()) <= (validation > 0)
        assert {v.label for v in plan.videos if splits[v.name] == "train"} == set("abc")
        if has_groups:
            sides = {}
            for video in plan.videos:
                sides.setdefault(video.group, set()).add(splits[video.name])
            assert all(len(found) == 1 for found in sides.values())
    tested = Counter(video.name for fold in plan.numbers for video in plan.tested(fold))
    assert set(tested.values()) == {1} and len(tested) == len(videos)


def test_validation_takes_about_its_share_of_the_training_groups(make_plan):
    splits = make_plan(groups=12, folds=3).splits(1, 0.25, seed=0)
    # 8 of 12 groups train, 2 of them validate; 3 classes each.
    assert Counter(splits.values()) == {"test": 12, "validation": 6, "train": 18}


def test_records_get_the_sides_of_a_fold_and_lose_videos_that_take_no_part(make_plan):
    plan = make_plan(groups=3)
    stored = [Record(v.name, v.label, v.group, "train", 9, 8, 8, "s", 0, 1) for v in plan.videos]
    others = Record("other.mp4", "bend", "p9", "test", 9, 8, 8, "s", 0, 1)
    found = plan.records(Records(Path("r"), ("bend", "jump", "walk"), (*stored, others), {}, {}), 2, 0.0, 0)
    assert {video.name: video.split for video in found.videos} == plan.splits(2, 0.0, 0)
    assert found.folder == Path("r") and {video.frames for video in found.videos} == {9}


def test_the_smallest_fold_is_the_one_that_the_training_is_planned_for():
    videos = [FoldVideo(name=str(n), label="ab"[n % 2], group=None, fold=1 if n < 2 else 2) for n in range(6)]
    plan = Plan(folds=2, all=False, left_out=0, videos=tuple(videos))
    stored = tuple(Record(v.name, v.label, None, "test", 10 + n, 8, 8, "s", 0, 1) for n, v in enumerate(videos))
    found = plan.smallest(Records(Path("r"), ("a", "b"), stored, {}, {}), 0.0, 0)
    assert [video.frames for video in found.split("train")] == [10, 11]


def entry(name, group, split):
    return Entry(Path(name), name, "a", group, split)


def test_a_test_split_of_the_data_is_left_out_unless_all_are_wanted():
    entries = [
        entry("1", "p1", "train"),
        entry("2", "p2", "test"),
        entry("3", "p3", "validation"),
        # Goes where its group is, as in `complete_splits`.
        entry("4", "p2", None),
        entry("5", None, None),
        entry("6", None, "test"),
    ]
    kept, left_out = choose_videos(entries, everything=False)
    assert ([e.name for e in kept], left_out) == (["1", "3", "5"], 3)
    assert choose_videos(entries, everything=True) == (entries, 0)


def test_a_plan_is_read_back_and_a_damaged_one_is_named(make_plan, tmp_path):
    plan = make_plan()
    path = tmp_path / "folds.json"
    plan.write(path)
    assert Plan.read(path) == plan
    path.write_text('{"folds": 3}')
    with pytest.raises(KrespError, match=r"folds.json is damaged; begin anew by --overwrite"):
        Plan.read(path)


def test_it_goes_on_with_the_same_folds_and_videos_alone(make_plan, tmp_path):
    plan = make_plan()
    plan.check(make_plan(), tmp_path)
    with pytest.raises(UsageError, match="begun with --folds 3, received --folds group; resume with the same ones"):
        plan.check(plan.model_copy(update={"folds": "group"}), tmp_path)
    with pytest.raises(UsageError, match="received --folds 3 --all"):
        plan.check(plan.model_copy(update={"all": True}), tmp_path)
    with pytest.raises(KrespError, match=r"1 are new or changed and 0 are gone or changed, such as walk_p5.mp4"):
        plan.model_copy(update={"videos": plan.videos[:-1]}).check(plan, tmp_path)


@pytest.mark.parametrize(
    ("training", "validation", "fraction"),
    [
        ({"keep": "last"}, 0.15, 0.0),
        ({"keep": "best"}, 0.15, 0.15),
        ({"keep": "best"}, 0.0, 0.0),
        ({"keep": "last", "early_stop": 3}, 0.3, 0.3),
    ],
)
def test_validation_videos_are_set_aside_where_they_decide_something(training, validation, fraction):
    config = parse_config({"training": training, "data": {"validation": validation}}, "test")
    assert validation_fraction(config) == fraction


def test_early_stopping_without_validation_videos_is_refused():
    config = parse_config({"training": {"early_stop": 3}, "data": {"validation": 0}}, "test")
    with pytest.raises(UsageError, match=r"set data.validation above 0"):
        validation_fraction(config)


def test_a_fold_is_trained_as_the_configuration_says_and_measured_on_its_test_videos():
    base = parse_config({"name": "small", "seed": 4, "evaluation": {"split": "validation"}}, "test")
    config = fold_config(base, 3)
    assert (config.name, config.evaluation.split, config.seed) == ("small-fold-3", "test", 4)
    assert (config.data, config.training, config.model) == (base.data, base.training, base.model)

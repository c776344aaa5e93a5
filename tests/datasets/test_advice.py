from __future__ import annotations

import itertools

import pytest

from kresp3d.datasets.advice import advise, half_width
from kresp3d.datasets.inspect import Facts


def facts(rows):
    """Videos of `(label, group, split, number)`."""
    number = itertools.count()
    return [
        Facts(f"{next(number)}.mp4", label, group, split, 45, 3.0, 240, 320)
        for label, group, split, count in rows
        for _ in range(count)
    ]


def many(classes="ab", groups=20, each=10):
    """Enough of everything: every fifth group is for testing."""
    return [(label, f"p{n}", "train" if n % 5 else "test", each) for label in classes for n in range(groups)]


def only(found, *words):
    """The one finding that has these words."""
    [line] = [line for line in found if all(word in line for word in words)]
    return line


def test_nothing_is_said_where_nothing_is_amiss():
    assert advise(facts(many()), "ab") == []


def test_few_groups_come_before_few_videos():
    found = advise(facts([("a", f"p{n}", "train", 3) for n in range(3)] + [("b", "p0", "train", 30)]), "ab")
    assert found.index(only(found, "3 groups to learn from")) < found.index(only(found, "More videos of a (9)"))


def test_videos_without_groups_are_asked_for_them():
    found = advise(facts([("a", None, "train", 50), ("b", None, "train", 50), ("a", None, "test", 90)]), "ab")
    assert "No test video of b" in found[0] and "data.group_regex" in found[1]


def test_a_class_of_one_group_is_named():
    found = advise(facts([*many(), ("c", "p1", "train", 40)]), "abc")
    assert "Film c with others too" in only(found, "one group alone")
    # Where there is but one group at all, that is said instead.
    alone = advise(facts([("a", "p1", "train", 20), ("b", "p1", "train", 20)]), "ab")
    assert not any("one group alone" in line for line in alone) and "all videos are of one group, p1" in alone[0]


def test_a_class_that_cannot_be_learned_comes_first():
    found = advise(facts(many()), "abz")
    assert found == ["No training video of z: a network cannot learn it. Film some, or split anew."]


def test_groups_on_both_sides_are_named():
    found = advise(facts([*many(), ("a", "p1", "test", 1)]), "ab")
    assert "1 group both in train and in test (p1)" in found[0]


@pytest.mark.parametrize(("ratio", "told"), [(2, False), (3, True), (100, True)])
def test_imbalance_is_told_from_three_to_one_on(ratio, told):
    found = advise(facts([*many("a"), *many("b", each=10 * ratio)]), "ab")
    assert any("training.class_weights: balanced" in line for line in found) is told
    if told:
        assert f"b has {160 * ratio} training videos and a 160" in only(found, "class_weights")


def test_a_small_test_is_told_with_its_width():
    # Wilson's interval of 16 of 20 by hand: (16 + 1.9208 ± 1.96 sqrt(16 * 4 / 20 + 0.9604)) / (20 + 3.8415).
    half = 1.959964 * (16 * 4 / 20 + 1.959964**2 / 4) ** 0.5 / (20 + 1.959964**2)
    assert half_width(20) == pytest.approx(100 * half, abs=1e-4)
    rows = [(label, f"p{n}", "train", 10) for label in "ab" for n in range(20)]
    found = advise(facts([*rows, ("a", "t", "test", 10), ("b", "t", "test", 10)]), "ab")
    assert found == [
        "Measure by `kresp3d crossval`, which tests every video once: 20 test videos tell an accuracy of 80 % to "
        "within 17 points either way."
    ]
    assert "no test videos" in advise(facts(rows), "ab")[-1]


def test_a_cross_validation_is_not_proposed_where_it_would_refuse():
    lonely = advise(facts([*many(groups=4, each=2), ("c", "p1", "train", 40)]), "abc")
    assert "More test videos" in only(lonely, "kresp3d crossval", "no class is of one group alone")
    alone = advise(facts([("a", "p1", "train", 20), ("b", "p1", "train", 20)]), "ab")
    assert not any("crossval" in line for line in alone)
    # Without groups a class needs two videos.
    single = advise(facts([("a", None, "train", 20), ("a", None, "test", 9), ("b", None, "train", 1)]), "ab")
    assert "one video alone" in only(single, "More videos of b:") and "no class" in only(single, "crossval")
    assert not any("No test video of b" in line for line in single)


def test_short_videos_are_counted():
    rows = facts([*many(), ("a", "p1", "train", 3)])
    assert advise(rows, "ab", short=45) == []
    assert (
        "Longer videos: 323 of 323 training videos have fewer than 46 stored frames" in advise(rows, "ab", short=46)[0]
    )


def test_of_many_classes_a_few_are_named():
    labels = [f"c{n:03}" for n in range(100)]
    few = advise(facts([(label, f"p{n}", "train", 1) for label in labels for n in range(3)]), labels)
    assert "and 94 more" in only(few, "More videos of c000 (3)") and all(len(line) < 300 for line in few)

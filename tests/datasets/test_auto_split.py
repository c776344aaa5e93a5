from __future__ import annotations

from pathlib import Path

import pytest

from kresp3d.config.schema import make_config
from kresp3d.datasets.auto_split import split_data, validation_share
from kresp3d.datasets.splits import Entry


def entries(**splits):
    """So many videos of each split; `none` for those of which the data does not say."""
    return [
        Entry(Path(f"{split}{n}.mp4"), f"{split}{n}.mp4", "a", None, None if split == "none" else split)
        for split, number in splits.items()
        for n in range(number)
    ]


@pytest.mark.parametrize(
    ("videos", "settings", "share", "reason"),
    [
        # 0.15 of 100 videos, of which 20 are for testing.
        (entries(none=100), {}, 0.0, "12 would be too few"),
        (entries(train=84, test=36), {}, 0.0, "13 would be too few"),
        (entries(train=3333, test=5), {}, 0.15, "500 videos are enough"),
        (entries(train=3300, test=5), {}, 0.0, "495 would be too few"),
        (entries(none=100), {"training.keep": "best"}, 0.15, "asked for"),
        (entries(none=100), {"training.early_stop": 5}, 0.15, "asked for"),
        (entries(none=100), {"evaluation.split": "validation"}, 0.15, "asked for"),
        (entries(train=80, validation=10, test=10), {}, 0.15, "of its own"),
    ],
)
def test_videos_are_set_aside_only_where_they_decide_something(videos, settings, share, reason):
    found = validation_share(make_config({"data": {"videos": "v"}}, settings), videos)
    assert found[0] == share and reason in found[1]


def test_trainings_that_are_compared_have_something_to_be_compared_on():
    assert validation_share(make_config({"data": {"videos": "v"}}), entries(none=9), compared=True)[0] == 0.15


def test_what_a_person_says_stands():
    config = make_config({"data": {"videos": "v", "validation": 0.3}})
    assert split_data(config, entries(none=10)) is config.data
    assert split_data(make_config({"data": {"videos": "v"}}), entries(none=10)).validation == 0

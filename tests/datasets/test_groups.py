"""Patterns in the names of videos."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kresp3d.datasets.groups import suggest_group_regex
from kresp3d.datasets.splits import Entry

CLASSES = ("walk", "jump")
PEOPLE = ("daria", "denis", "eli")


def entries(*names):
    return [Entry(Path(name), name, name.split("/")[0]) for name in names]


def groups(found):
    expression = suggest_group_regex(found)
    return expression and [re.search(expression, entry.name)[1] for entry in found]


@pytest.mark.parametrize(
    ("pattern", "group"),
    [
        # KTH, a plain one, an underscore, NTU RGB+D, MSR-Action3D, UCF's groups without clips.
        ("{c}/person{n:02}_{c}_d1_uncomp.avi", "person{n:02}"),
        ("{c}/{c}_p{n:02}_2.mp4", "p{n:02}"),
        ("{c}/Subject_{n}.mp4", "Subject_{n}"),
        ("{c}/S001C002P{n:03}R001A004.avi", "P{n:03}"),
        ("{c}/a{k:02}_s{n:02}_e01.avi", "s{n:02}"),
        ("{c}/v_{c}_g{n:02}.avi", "g{n:02}"),
        ("{c}/session{n}.mp4", "session{n}"),
        # Words: the first one of the name, and a folder.
        ("{c}/{person}_{c}.avi", "{person}"),
        ("{c}/{person}_{c}_2.avi", "{person}"),
        ("{c}/{person}/{n}.avi", "{person}"),
    ],
)
def test_persons_and_recordings_are_found(pattern, group):
    rows = [{"c": c, "k": k, "n": n, "person": PEOPLE[n - 1]} for k, c in enumerate(CLASSES) for n in (1, 2, 3)]
    assert groups(entries(*(pattern.format(**row) for row in rows))) == [group.format(**row) for row in rows]


@pytest.mark.parametrize(
    "names",
    [
        # Each video alone, only two groups, the class's own name, one word for all, a name that does not fit.
        ["walk/p1.mp4", "walk/p2.mp4", "jump/p3.mp4", "jump/p4.mp4"],
        ["walk/p1_a.mp4", "walk/p2_a.mp4", "jump/p1_b.mp4", "jump/p2_b.mp4"],
        ["walk/walk_1.mp4", "walk/walk_2.mp4", "jump/jump_1.mp4", "jump/jump_2.mp4", "run/run_1.mp4", "run/run_2.mp4"],
        ["walk/clip_001.mp4", "walk/clip_002.mp4", "jump/clip_003.mp4", "jump/clip_004.mp4"],
        ["walk/p1_a.mp4", "walk/p2_a.mp4", "walk/p3_a.mp4", "jump/p1_b.mp4", "jump/other.mp4"],
        # A word of its own in each class.
        [
            "walk/red_1.mp4",
            "walk/red_2.mp4",
            "jump/blue_1.mp4",
            "jump/blue_2.mp4",
            "run/green_1.mp4",
            "run/green_2.mp4",
        ],
        [],
    ],
)
def test_what_names_no_group_is_none(names):
    assert suggest_group_regex(entries(*names)) is None

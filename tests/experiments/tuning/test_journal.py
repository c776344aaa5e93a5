from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.experiments.tuning.journal import Begun, Ended, Journal, Outcome
from kresp3d.system.errors import KrespError

outcomes = st.builds(
    Outcome,
    st.sampled_from(["done", "stopped", "failed", "lost"]),
    st.lists(st.floats(0, 1), max_size=3).map(tuple),
    st.integers(0, 99),
    st.floats(0, 1e6),
    st.text(max_size=20),
)
EVENTS = [
    Begun("0000", "a", {"x": 1}),
    Begun("0001", "b", {"x": 2.5}),
    Ended("0001", Outcome("lost")),
    Begun("0001", "a", {"x": 2.5}),
    Ended("0000", Outcome("done", (0.5, 0.7), 3, 1.5)),
]


@pytest.fixture
def path(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for event in EVENTS:
        journal.append(event)
    return journal.path


@given(outcomes)
def test_an_outcome_travels_as_text(outcome):
    assert Outcome.from_json(outcome.to_json()) == outcome


def test_what_was_written_is_read_back(path):
    assert Journal(path).events == EVENTS


def test_a_trial_that_was_lost_and_begun_again_is_one_trial(path):
    first, second = Journal(path).trials()
    assert (first.trial, first.outcome.score, first.outcome.spread) == ("0000", 0.6, pytest.approx(0.1414, abs=1e-4))
    assert (second.trial, second.worker, second.outcome) == ("0001", "a", None)


@pytest.mark.parametrize("cut", [1, 20])
def test_a_line_that_a_kill_cut_off_is_dropped_and_the_next_one_stands_alone(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path)
    assert journal.events == EVENTS[:-1]
    journal.append(EVENTS[-1])
    assert Journal(path).events == EVENTS


def test_reading_leaves_a_line_that_another_process_is_writing(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert Journal(path).events == EVENTS[:-1]
    with path.open("ab") as file:
        file.write(whole[-20:])
    assert Journal(path).events == EVENTS


def test_a_full_disk_leaves_no_half_line(path):
    before = path.read_bytes()
    journal = Journal(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(OSError):
            journal.append(Begun("0002", "a", {"x": 3}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and journal.events == EVENTS


@pytest.mark.parametrize("line", ["{}", "[]", "nonsense", '{"event": "ended", "trial": "0"}'])
def test_a_damaged_journal_is_named(path, line):
    path.write_text(f"{line}\n")
    with pytest.raises(KrespError, match=rf"{path} is damaged .*--overwrite"):
        Journal(path)

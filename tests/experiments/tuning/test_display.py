from __future__ import annotations

import io

import pytest
from rich.console import Console

from kresp3d.experiments.tuning.display import SweepDisplay
from kresp3d.experiments.tuning.journal import Begun, Ended, Journal, Outcome
from kresp3d.experiments.tuning.trial import Glimpse

SETTINGS = {"model.step": 2, "model.attention": True, "model.feature_residual": False, "model.modality": "both"}


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal.jsonl")


def show(journal, space, *, is_terminal):
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=is_terminal, color_system=None, highlight=False)
    with SweepDisplay(journal, space, 28, console) as display:
        for event in (
            Begun("0000", "a", SETTINGS),
            Ended("0000", Outcome("done", (0.5, 0.7), 9, 61.0)),
            Begun("0001", "a", {**SETTINGS, "model.modality": "rgb"}),
            Ended("0001", Outcome("failed", reason="out of memory")),
            Begun("0002", "a", SETTINGS),
            Ended("0002", Outcome("lost")),
            Begun("0002", "b", SETTINGS),
        ):
            journal.append(event)
            display.on_event()
        display.on_glimpse(Glimpse(seed=0, epoch=3, epochs=9, top1=0.4))
    return out.getvalue()


def test_a_log_has_a_line_for_each_trial_that_ended(journal, make_space):
    lines = show(journal, make_space(), is_terminal=False).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(
        "0000  step=2 attention=true feature_residual=false modality=both  60.0 % ± 14.1, 1:01; "
    )
    assert "1 of 28 trials, best 60.0 % (0000)" in lines[0] and lines[0].endswith("left")
    assert "failed: out of memory" in lines[1]


def test_a_reason_is_shown_as_it_is(journal, make_space):
    out = io.StringIO()
    with SweepDisplay(journal, make_space(), 1, Console(file=out, width=100)) as display:
        journal.append(Begun("0000", "a", SETTINGS))
        # rich would take this for the end of a style that never began.
        journal.append(Ended("0000", Outcome("failed", reason="cannot read [/x]")))
        display.on_event()
    assert "failed: cannot read [/x]" in out.getvalue()


def test_a_terminal_has_a_table_with_what_runs_now(journal, make_space):
    last = show(journal, make_space(), is_terminal=True).split("trial ")[-1]
    rows = [line.split() for line in last.splitlines()]
    assert ["0000", "2", "true", "false", "both", "60.0", "%", "±", "14.1", "1:01"] in rows
    assert ["0001", "2", "true", "false", "rgb", "failed", "0:00"] in rows
    assert any(row[:1] == ["0002"] and row[5:7] == ["epoch", "3/9"] for row in rows)
    assert "0001 failed: out of memory" in last and "2 of 28 trials, best 60.0 % (0000)" in last


def test_a_resumed_sweep_shows_only_what_is_new(journal, make_space):
    journal.append(Begun("0000", "a", SETTINGS))
    journal.append(Ended("0000", Outcome("done", (0.5,), 9, 61.0)))
    out = io.StringIO()
    with SweepDisplay(journal, make_space(), 28, Console(file=out, width=100)) as display:
        display.on_event()
        assert out.getvalue() == ""

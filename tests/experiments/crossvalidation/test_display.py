from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from kresp3d.experiments.crossvalidation.display import CrossValidationDisplay
from kresp3d.experiments.crossvalidation.results import FoldResult, Results


@pytest.fixture
def states(base, make_plan):
    videos = {"train": 12, "test": 6}

    def state(*statuses):
        found = [
            FoldResult(
                n, status, (f"p{n}",), videos, 1, 60.0, *((0.5, 0.25) if status == "done" else ()), reason="full"
            )
            for n, status in enumerate(statuses, 1)
        ]
        return Results(base, make_plan(), tuple(found))

    return [
        state("running", "waiting", "waiting"),
        state("done", "running", "waiting"),
        state("done", "failed", "running"),
    ]


def show(states, *, is_terminal):
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=is_terminal, color_system=None, highlight=False)
    with CrossValidationDisplay(SimpleNamespace(results=lambda: states[0]), console) as display:
        for state in states[1:]:
            display.show(state)
    return out.getvalue()


def test_a_log_has_a_line_for_each_fold_that_ended(states):
    lines = show(states, is_terminal=False).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("fold 1  video top-1 50.0 %, 1 epochs in 1:00; 1 of 3 folds, ")
    assert lines[1].startswith("fold 2  failed: full; 1 of 3 folds")


def test_a_terminal_has_a_table_of_the_folds(states):
    last = show(states, is_terminal=True).split("balanced accuracy")[-1]
    lines = [line.split() for line in last.splitlines()]
    assert ["1", "6", "50.0", "%", "25.0", "%", "p1"] in lines
    assert ["2", "6", "failed", "p2"] in lines and ["3", "6", "1/2", "p3"] in lines
    assert ["mean", "±", "sd", "50.0", "%", "25.0", "%"] in lines

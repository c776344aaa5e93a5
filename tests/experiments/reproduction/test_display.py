from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from kresp3d.experiments.reproduction.claims import judge
from kresp3d.experiments.reproduction.display import ReproductionDisplay, print_results


def show(states, *, is_terminal):
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=is_terminal, color_system=None, highlight=False)
    with ReproductionDisplay(SimpleNamespace(results=lambda: states[0]), console) as display:
        for state in states[1:]:
            display.show(state)
    return out.getvalue()


@pytest.fixture
def states(make_results):
    return [
        make_results({"residual": [0.5, None]}, tables=(3,)),
        make_results({"residual": [0.5, None], "residual_s2": [0.25]}, tables=(3,)),
        make_results({"residual": [0.5, "out of memory"], "residual_s2": [0.25]}, tables=(3,)),
    ]


def test_a_log_has_a_line_for_each_training_that_ended(states):
    lines = show(states, is_terminal=False).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("residual_s2 seed 0  video top-1 25.0 %, 3 epochs in 1:00; 2 of 6 trainings, ")
    assert lines[0].endswith(" left")
    assert lines[1].startswith("residual seed 1  failed: out of memory; 2 of 6 trainings")


def test_a_terminal_has_a_table_of_rows_and_seeds(states):
    last = show(states, is_terminal=True).split("row ")[-1]
    rows = [line.split() for line in last.splitlines()]
    assert ["residual", "50.0", "failed", "50.0"] in rows
    assert ["residual_s2", "25.0", "·", "25.0"] in rows and ["residual_s4", "·", "·", "–"] in rows
    assert "residual seed 1  failed: out of memory" in last


@pytest.mark.parametrize("width", [80, 100])
def test_the_results_fit_a_terminal(make_results, scores, width):
    out = io.StringIO()
    results = make_results(scores)
    console = Console(file=out, width=width, color_system=None, highlight=False)
    print_results(console, results, judge(results.scores(), results.tables))
    text = out.getvalue()
    assert "…" not in text and all(len(line) <= width for line in text.splitlines())
    rows = [line.split() for line in text.splitlines()]
    means = ["77.0 ± 1.0", "90.0", "79.0 ± 1.0", "90.0"]
    assert " ".join(["residual_s2 3", *means, "82.7"]).split() in rows
    assert ["residual", "3", *means[0].replace("77", "79").split(), "90.0", "81.0", "±", "1.0", "90.0", "83.0"] in rows
    assert ["both", "−", "residual", "+2.6", "+10.0", "+8.3", "to", "+11.7", "0.002", "3", "supported"] in rows
    assert "Table 2: both > residual > RGB: supported" in text
    assert "With 3 seeds and the spread seen here" in text


def test_few_videos_and_seeds_do_not_break_the_lines(make_results):
    out = io.StringIO()
    results = make_results({"no_attention": [0.0, 1.0], "no_feature_residual": [0.2, 0.2], "plain": [0.2, 0.2]})
    print_results(Console(file=out, width=80, color_system=None), results, judge(results.scores(), results.tables))
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert ["no_attention", "−", "plain", "+1.7", "+30.0", "−100.0", "to", "+100.0", "0.328", "2", "undecided"] in rows
    assert ["no_feature_residual", "−", "plain", "+1.4", "+0.0", "–", "1.000", "2", "undecided"] in rows
    assert ["no_feature_residual", "−", "plain:", "no", "difference", "with", "any", "seed"] in rows
    assert "difference of > 100 points" in " ".join(out.getvalue().split())

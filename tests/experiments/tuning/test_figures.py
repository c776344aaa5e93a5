from __future__ import annotations

import pytest

from kresp3d.config.schema import parse_config
from kresp3d.evaluation.figures import save
from kresp3d.experiments.tuning.effects import Trial
from kresp3d.experiments.tuning.figures import key_figure
from kresp3d.experiments.tuning.journal import Outcome
from kresp3d.experiments.tuning.space import SearchSpace

SPACE = SearchSpace(
    parse_config(
        {"tune": {"space": {"model.attention": "bool", "training.learning_rate": {"float": [1e-3, 1.0], "log": True}}}},
        "tune.yaml",
    ),
    "tune.yaml",
)
TRIALS = [
    Trial(str(n), {"model.attention": n % 2 == 0, "training.learning_rate": 0.001 * 3**n}, Outcome("done", (n / 6,)))
    for n in range(6)
]


def test_listed_values_have_a_column_each_with_every_trial_as_a_dot():
    [axes] = key_figure("model.attention", TRIALS, SPACE).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["false", "true"]
    dots = axes.lines[0]
    columns = [round(x) for x in dots.get_xdata()]
    assert sorted(zip(columns, (round(6 * y) for y in dots.get_ydata()), strict=True)) == [
        *((0, n) for n in (1, 3, 5)),
        *((1, n) for n in (0, 2, 4)),
    ]


def test_the_bars_are_the_standard_deviations_also_where_all_trials_agree():
    scores = {True: [0.5, 0.5, 0.5], False: [0.2, 0.4]}
    trials = [
        Trial(f"{value}-{n}", {"model.attention": value, "training.learning_rate": 0.1}, Outcome("done", (score,)))
        for value, found in scores.items()
        for n, score in enumerate(found)
    ]
    [axes] = key_figure("model.attention", trials, SPACE).axes
    [(_, _, [bars])] = axes.containers
    # The standard deviation of 0.2 and 0.4 is the square root of 0.1² + 0.1².
    lengths = [top - bottom for (_, bottom), (_, top) in bars.get_segments()]
    assert lengths == pytest.approx([2 * 0.02**0.5, 0.0])


def test_a_range_with_log_has_a_logarithmic_axis():
    [axes] = key_figure("training.learning_rate", TRIALS, SPACE).axes
    assert axes.get_xscale() == "log" and len(axes.lines[0].get_xdata()) == 6


def test_equal_sweeps_give_equal_bytes(tmp_path):
    one, other = (save(key_figure("model.attention", TRIALS, SPACE), tmp_path / f"{n}.png") for n in range(2))
    assert one.read_bytes() == other.read_bytes()


def test_a_key_without_a_finished_trial_has_no_figure():
    with pytest.raises(ValueError, match="at least one finished trial"):
        key_figure("model.attention", [], SPACE)

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from kresp3d.evaluation.figures import BLUE, ORANGE, save
from kresp3d.experiments.reproduction.figures import table_figure
from kresp3d.experiments.reproduction.tables import TABLES, find_table


def lines(figure, marker):
    [axes] = figure.axes
    return [line for line in axes.get_lines() if line.get_marker() == marker]


def test_seeds_their_mean_and_the_papers_value_stand_in_the_column_of_their_row(make_results, scores):
    figure = table_figure(find_table(3), make_results(scores))
    [dots], [means], [paper] = (lines(figure, marker) for marker in ("o", "s", "D"))
    assert sorted(dots.get_ydata()) == sorted(scores["residual"] + scores["residual_s2"] + scores["residual_s4"])
    np.testing.assert_array_equal(np.rint(np.array(dots.get_xdata(), float)), np.repeat([0, 1, 2], 3))
    np.testing.assert_allclose(np.array(means.get_ydata(), float), [0.81, 0.79, 0.6233], atol=1e-4)
    np.testing.assert_allclose(np.array(paper.get_ydata(), float), [0.830, 0.827, 0.802])
    assert (dots.get_color(), paper.get_color()) == (BLUE, ORANGE)
    # Dots, mean and paper's mark do not cover each other.
    assert max(dots.get_xdata()[:3]) < 0 == means.get_xdata()[0] < paper.get_xdata()[0]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["step 1", "step 2", "step 4"]


def test_the_bars_are_the_standard_deviations_also_where_all_seeds_agree(make_results):
    found = make_results({"residual": [0.5, 0.5], "residual_s2": [0.2, 0.4]})
    [bars] = table_figure(find_table(3), found).axes[0].containers
    # The standard deviation of 0.2 and 0.4 is the square root of 0.1² + 0.1².
    lengths = [top - bottom for (_, bottom), (_, top) in bars.lines[2][0].get_segments()]
    assert lengths == pytest.approx([0.0, 2 * 0.02**0.5])


def test_rows_without_a_result_have_the_papers_mark_alone(make_results):
    figure = table_figure(find_table(2), make_results({"both": [0.9]}))
    assert len(lines(figure, "o")[0].get_xdata()) == 1 and len(lines(figure, "D")[0].get_xdata()) == 4
    nothing = table_figure(find_table(2), make_results({"both": [None]}))
    assert not lines(nothing, "o") and len(lines(nothing, "D")[0].get_xdata()) == 4


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.number))
def test_names_of_rows_do_not_touch(table, make_results, scores, tmp_path):
    figure = table_figure(table, make_results(scores))
    save(figure, tmp_path / "figure.png")
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.explain.attention import Weight
from kresp3d.explain.explanation import Watched
from kresp3d.explain.panels import (
    AttentionPanel,
    draw_scores,
    heated,
    residual_of,
    set_scores,
    shown_classes,
)

FORM = ClipFormat(frames=4, step=1, size=8, frame_stride=1, fps=10, short_side=24)


def watched(scores, starts=(0, 5)):
    scores = np.asarray(scores, np.float32)
    labels = tuple(f"class $_{i}" for i in range(scores.shape[1]))
    return Watched(12, FORM, labels, np.array(starts, np.int64), scores, ({},) * len(starts))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_heat_shines_where_it_is_and_leaves_a_dark_grey_picture_elsewhere():
    picture = np.full((32, 32, 3), (200, 100, 0), np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[:, :2] = 1
    found = heated(picture, heat)
    assert found.shape == (32, 32, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found[:, 24:], 60)
    assert (found[:, :4].astype(int).max(axis=-1) > 180).all()
    # More heat is never darker.
    ramp = heated(picture, np.linspace(0, 1, 8, dtype=np.float32)[None].repeat(8, axis=0)).astype(int).sum(axis=-1)
    assert (np.diff(ramp[0][6:]) >= -1).all()
    np.testing.assert_array_equal(heated(picture, None), 60)


def test_the_explained_class_comes_first_and_then_the_five_best():
    scores = np.array([[0.3, 0.05, 0.25, 0.2, 0.1, 0.04, 0.06]] * 2)
    assert shown_classes(watched(scores), 2) == [2, 0, 3, 4, 6]
    assert shown_classes(watched(scores), 5) == [5, 0, 2, 3, 4, 6]
    assert shown_classes(watched([[0.4, 0.6]] * 2), 1) == [1, 0]


def test_curves_run_through_the_scores_at_the_middles_of_the_clips():
    seen = watched([[0.1, 0.9], [0.5, 0.5]])
    axes = Figure().add_subplot()
    values = draw_scores(axes, seen, [1, 0])
    first, second = axes.get_lines()
    np.testing.assert_allclose(first.get_xydata(), [[0.2, 0.9], [0.7, 0.5]], atol=1e-6)
    np.testing.assert_allclose(second.get_ydata(), [0.1, 0.5], atol=1e-6)
    assert texts(axes) == ["class $_1", "70 %", "class $_0", "30 %"]
    set_scores(values, [0.123, 1.0])
    assert texts(axes) == ["class $_1", "12 %", "class $_0", "100 %"]


def test_a_single_clip_has_a_line_over_what_it_has_seen():
    seen = watched([[0.1, 0.9]], starts=(3,))
    axes = Figure().add_subplot()
    draw_scores(axes, seen, [1])
    np.testing.assert_allclose(axes.get_lines()[0].get_xydata(), [[0.25, 0.9], [0.75, 0.9]], atol=1e-6)


def test_bars_show_mean_and_spread_of_each_stage_and_part():
    axes = Figure().add_subplot()
    weights = {
        stage: {"appearance": Weight(0.3, 0.1), "motion": Weight(mean, 0.2)}
        for stage, mean in (("res2", 0.5), ("res3", 0.6))
    }
    panel = AttentionPanel(axes, weights)
    *bars, whiskers = panel.moving
    assert [bar.get_width() for bar in bars] == [0.3, 0.5, 0.3, 0.6]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["res2", "res3"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["appearance", "motion"]
    spans = [(line[0, 0], line[1, 0]) for line in whiskers.get_segments()]
    np.testing.assert_allclose(spans, [(0.2, 0.4), (0.3, 0.7), (0.2, 0.4), (0.4, 0.8)])
    # Upper stages lie above, and no bar over another.
    tops = [bar.get_y() for bar in bars]
    assert tops == sorted(tops) and all(b - a >= bars[0].get_height() for a, b in pairwise(tops))
    panel.show({stage: {"appearance": Weight(0.9, 0), "motion": Weight(0.1, 0)} for stage in weights})
    assert [bar.get_width() for bar in bars] == [0.9, 0.1, 0.9, 0.1]


@pytest.mark.parametrize(
    ("full3d", "sentence"),
    [(False, "This network has no attention."), (True, "The full 3D network has no attention.")],
)
def test_without_attention_the_panel_says_so(full3d, sentence):
    axes = Figure().add_subplot()
    panel = AttentionPanel(axes, {}, full3d=full3d)
    assert texts(axes) == [sentence] and panel.moving == [] and not axes.axison
    panel.show({})


def test_the_residual_is_that_of_the_networks_frames():
    video = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
    seen = watched([[0.4, 0.6]] * 2)
    for frame, (first, second) in {2: (2, 3), 11: (10, 11)}.items():
        expected = np.minimum(4 * np.abs(video[second].astype(int) - video[first]), 255)
        np.testing.assert_array_equal(residual_of(video, seen, frame), expected)

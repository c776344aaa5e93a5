import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kresp3d.evaluation.figures import (
    NAMED_CLASSES,
    clip_sheet,
    confusion_figure,
    history_figure,
    per_class_figure,
    percent,
    rgb_over_residual,
    save,
    shown_times,
)
from kresp3d.evaluation.metrics import ClassResult
from kresp3d.system.errors import KrespError


def class_result(name, videos, video_top1, clip_top1=0.5):
    return ClassResult(name, videos, clip_top1, video_top1, 0.5, None, 0)


def texts(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


class TestSave:
    def test_writes_a_png_and_nothing_else(self, tmp_path):
        path = save(confusion_figure(np.eye(3, dtype=int), "abc"), tmp_path / "figures" / "a.png")
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert np.asarray(image.convert("L")).std() > 10
        assert [p.name for p in path.parent.iterdir()] == ["a.png"]

    def test_equal_figures_give_equal_bytes(self, tmp_path):
        paths = [save(confusion_figure(np.eye(3, dtype=int), "abc"), tmp_path / name) for name in ("a.png", "b.png")]
        assert paths[0].read_bytes() == paths[1].read_bytes()

    def test_keeps_the_earlier_file_when_drawing_fails(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_text("earlier")
        figure = confusion_figure(np.eye(2, dtype=int), "ab")
        with pytest.raises(ValueError):
            save(figure, path, dpi=-1)
        assert path.read_text() == "earlier"
        assert list(tmp_path.iterdir()) == [path]


class TestConfusion:
    def test_colours_are_shares_of_the_row_and_cells_show_counts(self):
        axes = confusion_figure(np.array([[3, 1], [0, 2]]), ["walk", "run"]).axes[0]
        np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0.0, 1.0]])
        assert {(t.get_position(), t.get_text()) for t in axes.texts} == {((0, 0), "3"), ((1, 0), "1"), ((1, 1), "2")}
        assert texts(axes.xaxis) == texts(axes.yaxis) == ["walk", "run"]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")

    def test_rows_without_videos_are_masked(self):
        image = confusion_figure(np.array([[0, 0], [0, 2]]), "ab").axes[0].images[0]
        assert np.ma.getmaskarray(image.get_array()).tolist() == [[True, True], [False, False]]

    @pytest.mark.parametrize("count", [1, 26, 101, 700])
    def test_any_number_of_classes_can_be_saved(self, count, tmp_path):
        figure = confusion_figure(np.eye(count, dtype=int), [f"class {i}" for i in range(count)])
        with Image.open(save(figure, tmp_path / "a.png")) as image:
            assert 200 < min(image.size) <= max(image.size) < 2500
        assert len(texts(figure.axes[0].yaxis)) <= NAMED_CLASSES
        assert bool(figure.axes[0].texts) == (count <= 25)

    def test_dollar_signs_are_no_formula_and_long_names_are_cut(self, tmp_path):
        figure = confusion_figure(np.eye(2, dtype=int), [r"$\bad_{$", "a" * 99])
        save(figure, tmp_path / "a.png")
        assert texts(figure.axes[0].yaxis) == [r"$\bad_{$", "a" * 21 + "…"]

    def test_refuses_another_number_of_names(self):
        with pytest.raises(ValueError, match=r"\[3, 3\]"):
            confusion_figure(np.eye(2, dtype=int), "abc")


class TestPerClass:
    def test_weakest_class_is_on_top_and_classes_without_videos_are_left_out(self):
        rows = [class_result("good", 4, 1.0), class_result("none", 0, None, None), class_result("weak", 2, 0.5)]
        axes = per_class_figure(rows).axes[0]
        assert texts(axes.yaxis) == ["weak  (2)", "good  (4)"]
        assert [bar.get_width() for bar in axes.patches] == [0.5, 1.0]
        assert axes.yaxis_inverted()

    def test_line_is_the_share_of_all_videos(self):
        figure = per_class_figure([class_result("a", 3, 1.0), class_result("b", 1, 0.0)])
        assert "all videos, 75.0 %" in [text.get_text() for text in figure.legends[0].get_texts()]

    def test_many_classes_show_the_weakest(self, tmp_path):
        figure = per_class_figure([class_result(f"c{i}", 100, i / 700) for i in range(700)])
        assert texts(figure.axes[0].yaxis) == [f"c{i}  (100)" for i in range(NAMED_CLASSES)]
        assert f"the weakest {NAMED_CLASSES} of 700 classes" in figure.axes[0].get_xlabel()
        with Image.open(save(figure, tmp_path / "a.png")) as image:
            assert image.height < 3000

    def test_refuses_to_draw_nothing(self):
        with pytest.raises(ValueError, match="at least one class"):
            per_class_figure([class_result("a", 0, None, None)])


def write_history(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


class TestHistory:
    def test_draws_each_column_where_it_belongs(self, tmp_path):
        rows = [
            {"epoch": i, "loss": 3 - i, "top1": i / 4, "val_loss": 4 - i, "val_top1": i / 5, "learning_rate": 0.1 / i}
            for i in (1, 2, 3)
        ]
        figure = history_figure(write_history(tmp_path / "history.csv", rows))
        loss, top1, rate = figure.axes
        drawn = {(axes, line.get_label()): line.get_ydata().tolist() for axes in figure.axes for line in axes.lines}
        assert drawn[loss, "training"] == [2, 1, 0]
        assert drawn[loss, "validation"] == [3, 2, 1]
        assert drawn[top1, "validation"] == [0.2, 0.4, 0.6]
        assert drawn[rate, "training"] == pytest.approx([0.1, 0.05, 0.1 / 3])
        assert [text.get_text() for text in top1.texts] == ["best validation 60.0 %, epoch 3"]

    def test_empty_cells_and_missing_columns_are_gaps(self, tmp_path):
        rows = [{"epoch": 1, "loss": 2.0, "val_loss": ""}, {"epoch": 2, "loss": 1.0, "val_loss": 1.5}]
        figure = history_figure(write_history(tmp_path / "history.csv", rows))
        save(figure, tmp_path / "a.png")
        (loss,) = figure.axes
        np.testing.assert_array_equal(loss.lines[1].get_ydata(), [np.nan, 1.5])

    def test_marks_the_first_of_equal_scores_with_the_lowest_loss(self, tmp_path):
        scores, losses = [0.5, 0.8, 0.8, 0.8, ""], [1.0, 0.9, 0.7, 0.7, 0.1]
        rows = [
            {"epoch": i, "loss": 1.0, "val_top1": score, "val_loss": loss}
            for i, (score, loss) in enumerate(zip(scores, losses, strict=True), 1)
        ]
        top1 = history_figure(write_history(tmp_path / "history.csv", rows)).axes[1]
        assert [text.get_text() for text in top1.texts] == ["best validation 80.0 %, epoch 3"]

    def test_one_epoch_can_be_saved(self, tmp_path):
        rows = [{"epoch": 1, "loss": 2.0, "top1": 0.5, "val_loss": 2.0, "val_top1": 0.5, "learning_rate": 0.1}]
        save(history_figure(write_history(tmp_path / "history.csv", rows)), tmp_path / "a.png")
        assert (tmp_path / "a.png").is_file()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "not found"),
            ("", "at least one row"),
            ("epoch,loss\n", "at least one row"),
            ("epoch,top1\n1,2\n", r"\['loss'\]"),
            ("epoch,loss\n1,low\n", "numbers in column 'loss'"),
        ],
    )
    def test_refuses_what_is_no_history(self, content, message, tmp_path):
        path = tmp_path / "history.csv"
        if content is not None:
            path.write_text(content)
        with pytest.raises(KrespError, match=message):
            history_figure(path)


class TestClipSheet:
    def test_residual_row_is_the_brightened_absolute_difference(self):
        clip = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)
        sheet = rgb_over_residual(clip, step=2, columns=4, brighten=3.0, gap=1)
        assert sheet.shape == (11, 19, 3)
        assert sheet.dtype == np.uint8
        for t in range(4):
            left = 5 * t
            assert np.array_equal(sheet[:5, left : left + 4], clip[t])
            for y, x, c in np.ndindex(5, 4, 3):
                expected = min(255, 3 * abs(int(clip[t + 2, y, x, c]) - int(clip[t, y, x, c])))
                assert sheet[6 + y, left + x, c] == expected
        assert (sheet[5] == 255).all()
        assert (sheet[:, 4] == 255).all()

    def test_a_still_clip_has_a_black_residual(self):
        clip = np.full((4, 3, 3, 3), 200, np.uint8)
        assert not rgb_over_residual(clip, 1, gap=0)[3:].any()

    @given(length=st.integers(1, 80), step=st.integers(1, 5), columns=st.integers(1, 20))
    def test_times_are_distinct_ascending_and_have_a_residual(self, length, step, columns):
        times = shown_times(length + step, step, columns)
        assert len(times) == min(columns, length)
        assert times[0] == 0
        assert times[-1] + step < length + step
        assert (np.diff(times) > 0).all()
        if len(times) > 1:
            assert times[-1] == length - 1

    @pytest.mark.parametrize(
        ("clip", "step"),
        [
            (np.zeros((3, 4, 4, 3), np.float32), 1),
            (np.zeros((3, 4, 4, 1), np.uint8), 1),
            (np.zeros((3, 4, 4, 3), np.uint8), 3),
            (np.zeros((3, 4, 4, 3), np.uint8), 0),
        ],
    )
    def test_refuses_what_is_no_clip(self, clip, step):
        with pytest.raises(ValueError, match=r"expected|must be"):
            rgb_over_residual(clip, step)

    def test_figure_states_the_factor_and_the_times(self, tmp_path):
        figure = clip_sheet(np.zeros((5, 8, 8, 3), np.uint8), 1, title="a $ walk", columns=2, brighten=5)
        save(figure, tmp_path / "a.png")
        axes = figure.axes[0]
        assert texts(axes.xaxis) == ["t = 0", "t = 3"]
        assert "residual × 5" in texts(axes.yaxis)[1]
        assert axes.get_title() == "a $ walk"


@given(share=st.floats(0, 1))
@settings(max_examples=30)
def test_percent_reads_back(share):
    assert float(percent(share).removesuffix(" %")) == pytest.approx(100 * share, abs=0.0501)


def test_percent_of_nothing_is_a_dash():
    assert percent(None) == "–"

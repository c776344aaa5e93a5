import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kresp3d.explain.moving_figure import MovingFigure


def figure(value):
    drawn = Figure(figsize=(2, 1.5), dpi=100, layout="constrained")
    axes = drawn.add_subplot()
    axes.plot([0, 1], [0, 1])
    axes.set_xlim(0, 1)
    image = axes.inset_axes((0.1, 0.5, 0.3, 0.3)).imshow(np.full((2, 2, 3), value, np.uint8))
    line = axes.axvline(value / 255)
    text = drawn.text(0.5, 0.02, f"{value}")
    return drawn, [image, line, text]


def test_a_picture_is_the_figure_drawn_anew():
    drawn, (image, line, text) = figure(0)
    moving = MovingFigure(drawn, [image, line, text])
    for value in (60, 200):
        image.set_data(np.full((2, 2, 3), value, np.uint8))
        line.set_xdata([value / 255] * 2)
        text.set_text(f"{value}")
        other = FigureCanvasAgg(figure(value)[0])
        other.draw()
        expected = np.asarray(other.buffer_rgba())[..., :3]
        found = moving.picture()
        assert found.shape == (150, 200, 3) and found.dtype == np.uint8
        # What moves is drawn last, so at crossings it may lie over what it lay under.
        assert (np.abs(found.astype(int) - expected).max(axis=-1) > 40).mean() < 0.005
    assert np.abs(moving.picture().astype(int) - found).max() == 0

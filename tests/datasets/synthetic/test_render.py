import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest

from kresp3d.config.schema import SyntheticConfig
from kresp3d.datasets.synthetic import render
from kresp3d.datasets.synthetic.render import ACTIONS, frame_count, frame_size, render_video
from kresp3d.system.errors import UsageError

SMALL = SyntheticConfig(size=48, seconds=1.0, fps=12)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("size", [32, 50, 96])
def test_every_action_renders_at_every_size(action, size):
    config = SyntheticConfig(size=size, seconds=0.4, fps=10)
    video = render_video(action, subject=1, take=1, config=config)
    assert video.shape == (4, size, 2 * round(size * 2 / 3), 3)
    assert video.dtype == np.uint8
    assert video.std() > 10


def test_there_are_ten_actions_in_order():
    assert ACTIONS == ("bend", "box", "clap", "jog", "jump", "jumping-jack", "run", "side-step", "walk", "wave")


def test_size_and_length_follow_the_configuration():
    assert frame_size(SyntheticConfig(size=96)) == (96, 128)
    assert frame_count(SyntheticConfig(seconds=3, fps=25)) == 75
    assert frame_count(SyntheticConfig(seconds=0.01, fps=25)) == 1


def test_the_same_arguments_give_the_same_pixels_in_another_process():
    code = (
        "import hashlib; from kresp3d.config.schema import SyntheticConfig;"
        "from kresp3d.datasets.synthetic.render import render_video;"
        "c = SyntheticConfig(size=48, seconds=1.0, fps=12);"
        "print(hashlib.sha256(render_video('run', subject=3, take=2, config=c).tobytes()).hexdigest())"
    )
    here = render_video("run", subject=3, take=2, config=SMALL)
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == hashlib.sha256(here.tobytes()).hexdigest()


def test_each_argument_changes_the_video_and_the_size_of_the_dataset_does_not():
    base = render_video("walk", subject=1, take=1, config=SMALL)
    others = [
        render_video("walk", subject=1, take=2, config=SMALL),
        render_video("walk", subject=2, take=1, config=SMALL),
        render_video("jog", subject=1, take=1, config=SMALL),
        render_video("walk", subject=1, take=1, config=SMALL.model_copy(update={"seed": 1})),
    ]
    for other in others:
        assert np.abs(base.astype(int) - other).mean() > 5
    more = SMALL.model_copy(update={"subjects": 99, "videos_per_class": 9})
    np.testing.assert_array_equal(base, render_video("walk", subject=1, take=1, config=more))


@pytest.mark.parametrize("action", ACTIONS)
def test_the_whole_figure_is_in_the_centre_square(action, monkeypatch):
    drawn = []
    original = render.draw_figure
    monkeypatch.setattr(render, "draw_figure", lambda *args: drawn.append(original(*args)) or drawn[-1])
    height, width = frame_size(SyntheticConfig())
    for subject in range(1, 7):
        config = SyntheticConfig(seconds=3.0, fps=8)
        render_video(action, subject=subject, take=1, config=config)
        layer = drawn.pop()
        for corner, alpha in zip(layer.corner, layer.alpha[..., 0], strict=True):
            rows, columns = np.nonzero(alpha > 0.05)
            assert rows.min() + corner[1] >= 0
            assert rows.max() + corner[1] < height
            assert columns.min() + corner[0] >= (width - height) // 2
            assert columns.max() + corner[0] < (width + height) // 2
        tallest = max(np.ptp(np.nonzero(alpha > 0.5)[0]) + 1 for alpha in layer.alpha[..., 0])
        assert 0.5 * height < tallest <= height


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("jumpin-jack", 1, 1), "jumping-jack"),
        (("walk", 0, 1), "subject must be 1 or more, received 0"),
        (("walk", 1, -2), "take must be 1 or more, received -2"),
    ],
)
def test_bad_arguments_are_named(arguments, expected):
    action, subject, take = arguments
    with pytest.raises(UsageError, match=expected):
        render_video(action, subject=subject, take=take, config=SMALL)


def test_motion_tells_the_action_and_a_single_frame_does_not():
    """Nearest neighbours among other subjects, by the middle frame and by where and how fast the picture changes."""
    config = SyntheticConfig(size=48, seconds=2.0, fps=12)
    features = {"frame": {}, "motion": {}}
    for subject in range(1, 11):
        for action in ACTIONS:
            for take in (1, 2):
                video = render_video(action, subject=subject, take=take, config=config).mean(axis=-1)[..., 8:56]
                key = subject, action, take
                features["frame"][key] = tiny(video[len(video) // 2])
                features["motion"][key] = motion(video)
    right = {name: nearest_neighbour_accuracy(values) for name, values in features.items()}
    assert right["frame"] < 0.25
    assert right["motion"] > right["frame"] + 0.2


def tiny(picture):
    return picture.reshape(*picture.shape[:-2], 12, 4, 12, 4).mean(axis=(-3, -1))


def motion(video):
    change = tiny(np.abs(np.diff(video, axis=0)))
    place = change.mean(axis=0).ravel()
    tempo = np.abs(np.fft.rfft(change - change.mean(axis=0), axis=0))[1:9].mean(axis=(1, 2))
    return np.concatenate([3 * place / place.sum(), tempo / tempo.sum()])


def nearest_neighbour_accuracy(features):
    right = 0
    tested = [key for key in features if key[0] % 3 == 0]
    for key in tested:
        others = [other for other in features if other[0] % 3]
        nearest = min(others, key=lambda other: math.dist(features[other].ravel(), features[key].ravel()))
        right += nearest[1] == key[1]
    return right / len(tested)

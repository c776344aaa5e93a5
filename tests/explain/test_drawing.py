import av
import numpy as np
import pytest
from PIL import Image

from kresp3d.explain.drawing import explain_video
from kresp3d.explain.explanation import Explainer

VARIANTS = [
    {},
    {"modality": "rgb"},
    {"modality": "residual", "attention_pool": "space"},
    {"variant": "full3d"},
    {"attention": False},
    {"feature_residual": False},
]


def quiet(part, done, total):
    pass


def pictures_of(path):
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]).astype(int)


def panel(picture, number):
    """One of the three pictures of the board."""
    return picture[72:472, 20 + 420 * number : 420 + 420 * number]


@pytest.mark.parametrize("settings", VARIANTS)
def test_every_variant_gets_a_sheet_and_a_video(make_run, noise_video, tmp_path, settings):
    explainer = Explainer(make_run(**settings))
    path = noise_video(7)
    explain_video(explainer, path, tmp_path / "out.png", progress=quiet)
    assert Image.open(tmp_path / "out.png").size[0] > 1000
    explain_video(explainer, path, tmp_path / "out.mp4", progress=quiet)
    assert pictures_of(tmp_path / "out.mp4").shape == (7, 720, 1280, 3)


def test_videos_of_one_or_two_frames_are_looped(make_run, noise_video, tmp_path):
    explainer = Explainer(make_run())
    for frames in (1, 2):
        for ending in ("png", "mp4"):
            watched = explain_video(explainer, noise_video(frames), tmp_path / f"out.{ending}", progress=quiet)
            assert watched.frames == frames and len(watched.starts) == 1
        assert len(pictures_of(tmp_path / "out.mp4")) == frames


def test_the_video_shows_the_centre_square_its_residual_and_its_heat(make_run, make_video, tmp_path):
    """A white square jumps to the right half way, before a still grey wall that is wider than high."""
    frames = np.full((10, 40, 60, 3), 90, np.uint8)
    frames[:5, 12:28, 14:26] = 250
    frames[5:, 12:28, 34:46] = 250
    path = make_video(tmp_path / "a.mp4", frames, fps=10)
    done = []
    explain_video(Explainer(make_run()), path, tmp_path / "out.mp4", progress=lambda *call: done.append(call))
    assert done[-1] == ("Drawing", 10, 10) and ("Watching", 6, 6) in done
    found = pictures_of(tmp_path / "out.mp4")
    # The square of 40 pixels from column 10 is 400 wide, so the first white place is at 40 to 160, the second at 240.
    assert panel(found[2], 0)[200, 100].min() > 200 and panel(found[2], 0)[200, 300].max() < 130
    assert panel(found[7], 0)[200, 300].min() > 200 and panel(found[7], 0)[200, 100].max() < 130
    assert panel(found[2], 1).max() < 60
    jump = panel(found[4], 1)
    assert jump[200, 100].min() > 200 and jump[200, 300].min() > 200 and jump[200, 200].max() < 60
    for picture in found:
        heat = panel(picture, 2)
        assert np.ptp(heat.reshape(-1, 3), axis=0).max() > 40


def test_between_sparse_clips_the_heat_panel_says_that_none_holds_the_moment(make_run, noise_video, tmp_path):
    explain_video(Explainer(make_run()), noise_video(40), tmp_path / "out.mp4", clips=2, progress=quiet)
    found = pictures_of(tmp_path / "out.mp4")
    saturation = np.ptp(panel(found[20], 2)[:150], axis=-1)
    assert saturation.max() < 25 < np.ptp(panel(found[2], 2)[:150], axis=-1).max()


def test_another_class_has_another_heat(make_run, noise_video, tmp_path):
    explainer, path = Explainer(make_run()), noise_video(7)
    pictures = []
    for name in ("bend", "walk"):
        explain_video(explainer, path, tmp_path / f"{name}.mp4", class_name=name, progress=quiet)
        pictures.append(pictures_of(tmp_path / f"{name}.mp4")[3])
    assert np.abs(panel(pictures[0], 2) - panel(pictures[1], 2)).max() > 40
    assert np.abs(panel(pictures[0], 1) - panel(pictures[1], 1)).max() < 30

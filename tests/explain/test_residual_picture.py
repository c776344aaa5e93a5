import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kresp3d.explain.residual_picture import count_frames, count_moments, moments, write_residual

SETTINGS = {"fps": 10, "short_side": 64, "columns": 4, "brighten": 2.0}


def pictures_of(path):
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


@given(count=st.integers(1, 30), steps=st.lists(st.integers(1, 8), min_size=1, max_size=3))
def test_each_frame_is_paired_with_those_a_step_later_and_a_short_video_is_looped(count, steps):
    frames = [np.full((1, 1, 3), i, np.uint8) for i in range(count)]
    found = list(moments(iter(frames), steps))
    assert [moment.index for moment in found] == list(range(count_moments(count, steps)))
    assert len(found) == (count - max(steps) if count > max(steps) else count)
    for moment in found:
        assert moment.frame[0, 0, 0] == moment.index
        assert [later[0, 0, 0] for later in moment.later] == [(moment.index + step) % count for step in steps]


def test_frames_are_counted_at_the_rate_that_is_asked_for(make_video, tmp_path):
    path = make_video(tmp_path / "a.mp4", 26, fps=25)
    assert count_frames(path, 25) == 26 and count_frames(path, 12.5) == 13


def test_the_sheet_has_a_row_for_the_frames_and_one_for_each_step(make_video, tmp_path):
    still = np.full((20, 48, 64, 3), 120, np.uint8)
    still[10:] = 160
    path, calls = make_video(tmp_path / "a.mp4", still, fps=10), []
    out = tmp_path / "sheet.png"
    write_residual(path, out, (1, 12), progress=lambda *done: calls.append(done), **SETTINGS)
    assert calls[-1] == (8, 8)
    one = np.asarray(Image.open(out).convert("RGB"))
    write_residual(path, out, (1,), progress=lambda *done: None, **SETTINGS)
    two = np.asarray(Image.open(out).convert("RGB"))
    assert one.shape[0] > 1.3 * two.shape[0]
    # Of the first 8 frames none differs from its neighbour, while all differ by 40 from the one 12 frames later.
    black, grey = (np.abs(one.astype(int) - value).max(axis=-1) <= 8 for value in (0, 80))
    assert 0.5 < black.sum() / grey.sum() < 2 and grey.mean() > 0.1


@pytest.mark.parametrize("frames", [1, 2, 12])
def test_the_video_has_a_panel_for_the_frames_and_one_for_each_step(noise_video, tmp_path, frames):
    out = tmp_path / "out.mp4"
    write_residual(noise_video(frames), out, (1, 3), progress=lambda *done: None, **SETTINGS)
    found = pictures_of(out)
    assert len(found) == (frames - 3 if frames > 3 else frames)
    height, width = found.shape[1:3]
    assert height % 2 == 0 and width > 3 * 320
    rgb, *residuals = np.array_split(found[0, 70:-10], 3, axis=1)
    for step, panel in zip((1, 3), residuals, strict=True):
        moved = step % frames != 0
        assert (panel[:, 20:-20].mean() > 40) == moved, step
    assert rgb.std() > 20

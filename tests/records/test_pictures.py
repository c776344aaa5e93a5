import io

import numpy as np
import pytest
from PIL import Image

from kresp3d.records import pictures as module
from kresp3d.records.pictures import video_to_pictures
from kresp3d.system.errors import VideoError


def test_pictures_follow_the_video_at_the_asked_rate_and_size(tmp_path, make_video, read_number):
    path = make_video(tmp_path / "v.mp4", frames=30, fps=30)
    pictures = video_to_pictures(path, fps=15.0, short_side=32, quality=90)
    assert (pictures.height, pictures.width) == (32, 43)
    images = [np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in pictures.jpegs]
    assert [image.shape for image in images] == [(32, 43, 3)] * 15
    assert [read_number(image) for image in images] == list(range(0, 30, 2))


def test_frames_held_in_a_slow_video_are_repeated(tmp_path, make_video, read_number):
    path = make_video(tmp_path / "v.mp4", frames=4, fps=5)
    pictures = video_to_pictures(path, fps=15.0, short_side=None, quality=90)
    numbers = [read_number(np.asarray(Image.open(io.BytesIO(jpeg)))) for jpeg in pictures.jpegs]
    assert numbers == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]


def test_a_video_too_long_for_one_record_is_refused(tmp_path, make_video, monkeypatch):
    path = make_video(tmp_path / "v.mp4", frames=30, fps=30)
    monkeypatch.setattr(module, "MAX_BYTES", 5000)
    with pytest.raises(VideoError, match="cut it into shorter videos"):
        video_to_pictures(path, fps=15.0, short_side=None, quality=90)

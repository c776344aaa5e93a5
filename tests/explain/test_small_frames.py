import numpy as np
import pytest

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.explain.small_frames import small_video
from kresp3d.records.video_clips import video_clips
from kresp3d.system.errors import VideoError
from kresp3d.video.decode import iter_frames

FORM = ClipFormat(frames=9, step=1, size=16, frame_stride=1, fps=10, short_side=24)


def test_frames_are_those_that_clips_are_cut_from(noise_video):
    path = noise_video(10)
    with small_video(path, FORM) as video:
        assert video.dtype == np.uint8 and isinstance(video, np.memmap)
        clip = video_clips(iter_frames(path, fps=10, short_side=24), FORM, clips=1)[0]
        np.testing.assert_array_equal(video, clip)


def test_a_broken_video_is_named(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"nothing" * 100)
    with pytest.raises(VideoError, match=r"broken\.mp4"), small_video(path, FORM):
        pass

"""Clips of decoded frames. That they are those of a record is tested in test_pipeline.py."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.records.video_clips import decode_clips, network_frames, read_clips, video_clips
from kresp3d.system.errors import KrespError, UsageError, VideoError
from kresp3d.video.decode import iter_frames

FORM = ClipFormat(frames=4, step=1, size=16, frame_stride=1, fps=15.0, short_side=24)


def numbered(count: int) -> np.ndarray:
    """Plain frames whose red tells their number."""
    frames = np.full((count, 24, 32, 3), 128, np.uint8)
    frames[..., 0] = np.arange(count)[:, None, None]
    return frames


def test_clips_spread_from_the_first_frame_to_the_last():
    clips = video_clips(iter(numbered(11)), FORM, clips=3)
    assert clips.shape == (3, 5, 16, 16, 3)
    assert clips.dtype == np.uint8
    assert clips[:, :, 0, 0, 0].tolist() == [[start + t for t in range(5)] for start in (0, 3, 6)]


def test_clips_of_a_short_video_loop():
    assert video_clips(numbered(3), FORM, clips=2)[:, :, 0, 0, 0].tolist() == [[0, 1, 2, 0, 1]] * 2


def test_a_frame_becomes_its_resized_centre():
    frame = numbered(1)[0]
    frame[:, :4] = frame[:, -4:] = 255  # beyond the centre square of 24 pixels
    (small,) = network_frames([frame], 12)
    assert small.tolist() == np.full((12, 12, 3), (0, 128, 128)).tolist()


def test_frames_that_are_no_pictures_are_refused():
    with pytest.raises(KrespError, match=r"frame 0: expected uint8 \[height, width, 3\], received float32 \[4, 4, 3\]"):
        video_clips(np.zeros((2, 4, 4, 3), np.float32), FORM, clips=1)
    with pytest.raises(KrespError, match="at least one frame"):
        video_clips([], FORM, clips=1)


@pytest.mark.parametrize("frames", [3, 30])
def test_a_video_that_is_not_held_is_decoded_twice_and_gives_the_same(frames, tmp_path, make_video):
    path = make_video(tmp_path / "video.mp4", frames, fps=15)
    decoded = []

    def decode(function, path):
        decoded.append(0)
        for frame in function(path):
            decoded[-1] += 1
            yield frame

    once = decode_clips(path, FORM, clips=3, decode=decode)
    assert decoded == [frames]
    assert once.tolist() == read_clips(path, FORM, clips=3).tolist()
    assert once.tolist() == video_clips(iter_frames(path, fps=15, short_side=24), FORM, clips=3).tolist()
    twice = decode_clips(path, FORM, clips=3, decode=decode, held=2 * 16 * 16 * 3)
    assert twice.tolist() == once.tolist()
    assert decoded[1:] == [frames, min(frames, 15)]


def test_a_frame_that_is_held_is_resized_once():
    first, second = numbered(2)
    small = list(network_frames([first, first, second], 12))
    assert small[0] is small[1]
    assert small[1][0, 0, 0] == 0 and small[2][0, 0, 0] == 1


def test_a_frame_that_is_held_long_takes_the_memory_of_one():
    first, second = numbered(2)
    tracemalloc.start()
    clips = video_clips([first] * 100_000 + [second] * 100_000, FORM, clips=3)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert clips[:, :, 0, 0, 0].tolist() == [[0] * 5, [0] * 2 + [1] * 3, [1] * 5]
    # Each of the 200,000 frames has 768 bytes; a reference to one has 8.
    assert most < 20e6


@pytest.mark.parametrize(
    ("path", "clip", "words"),
    [
        ("v.mp4", None, "expected clip= a ClipFormat, .*received None"),
        ("v.mp4", FORM.model_dump(), "expected clip= a ClipFormat, .*received dict"),
        ("v.mp4", SimpleNamespace(clip=FORM), "expected clip= a ClipFormat, .*received SimpleNamespace"),
        (["v.mp4"], FORM, "expected the path of one video, received list"),
        (b"v.mp4", FORM, "expected the path of one video, received b'v.mp4'"),
        (7, FORM, "expected the path of one video, received 7"),
    ],
)
def test_other_arguments_get_a_sentence(path, clip, words):
    with pytest.raises(UsageError, match=words):
        read_clips(path, clip)


@pytest.mark.parametrize("name", ["a\0b.mp4", "x" * 300 + ".mp4", "\ud800.mp4"])
def test_a_name_that_no_file_can_have_is_an_error_of_the_video(name):
    with pytest.raises(VideoError, match=r"no file can have this name|name too long"):
        read_clips(name, FORM)

import av
import numpy as np
import pytest

from kresp3d.video.write import video_file


def pictures():
    ramp = np.linspace(30, 220, 6).astype(np.uint8)
    return np.broadcast_to(ramp[:, None, None, None], (6, 32, 48, 3)).copy()


def test_pictures_come_back_as_h264_at_their_rate(tmp_path):
    path = tmp_path / "out.mp4"
    with video_file(path, 7.5) as add:
        for picture in pictures():
            add(picture)
            assert not path.exists()
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, float(stream.average_rate)) == ("h264", "yuv420p", 7.5)
        found = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    assert found.shape == (6, 32, 48, 3)
    assert np.abs(found.astype(int) - pictures()).max() <= 6


def test_an_interrupted_video_leaves_no_file_and_replaces_none(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), video_file(path, 10) as add:
        add(pictures()[0])
        raise KeyboardInterrupt
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("second", "message"),
    [((31, 48), "even sides"), ((30, 48), "expected pictures of 32 x 48, received 30 x 48")],
)
def test_pictures_must_have_one_size_with_even_sides(tmp_path, second, message):
    sizes = [second] if "even" in message else [(32, 48), second]
    with pytest.raises(ValueError, match=message), video_file(tmp_path / "out.mp4", 10) as add:
        for height, width in sizes:
            add(np.zeros((height, width, 3), np.uint8))

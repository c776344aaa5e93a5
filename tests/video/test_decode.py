from __future__ import annotations

import os
import pickle
import struct
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.system.errors import UsageError, VideoError
from kresp3d.video.decode import convert_frames, fit_short_side, iter_frames, probe
from kresp3d.video.resample import LATE

MakeVideo = Callable[..., Path]
ReadNumber = Callable[[np.ndarray], int]


def decode(path: Path, fps: float = 25, short_side: int | None = None, **more: int) -> np.ndarray:
    return np.stack(list(iter_frames(path, fps=fps, short_side=short_side, **more)))


def quarters(height: int = 48, width: int = 64) -> np.ndarray:
    """One picture uint8 `[1, H, W, 3]`: red, green over blue, white."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = 200, 0, 0
    image[: height // 2, width // 2 :] = 0, 200, 0
    image[height // 2 :, : width // 2] = 0, 0, 200
    image[height // 2 :, width // 2 :] = 200, 200, 200
    return image[None]


def reason(path: Path) -> str:
    with pytest.raises(VideoError) as caught:
        list(iter_frames(path, fps=25, short_side=None))
    assert str(path) in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".webm", ".ts"])
def test_every_container_gives_every_frame_in_order(
    suffix: str, tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    frames = decode(make_video(tmp_path / f"video{suffix}", 40))
    assert frames.dtype == np.uint8
    assert frames.shape == (40, 48, 64, 3)
    assert [read_number(f) for f in frames] == list(range(40))


def test_b_frames_in_avi_come_in_order(tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber) -> None:
    path = make_video(tmp_path / "b.avi", 60, options={"bf": "2", "g": "30"})
    numbers = [read_number(f) for f in decode(path, fps=25)]
    assert numbers == list(range(60))


@pytest.mark.parametrize(("fps", "out"), [(25, 15), (30, 15), (29.97, 15), (10, 15), (24, 30)])
def test_a_constant_rate_is_resampled_by_time(
    fps: float, out: float, tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    numbers = [read_number(f) for f in decode(make_video(tmp_path / "v.mp4", 50, fps=fps), fps=out)]
    assert numbers == [int((k / out + LATE) * fps) for k in range(len(numbers))]
    assert len(numbers) == int((49 / fps + LATE) * out) + 1


def test_a_variable_rate_is_resampled_by_time(tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber) -> None:
    times = [0.0, 0.04, 0.5, 0.52, 0.54, 1.2, 2.0]
    for suffix in (".mkv", ".mp4"):
        path = make_video(tmp_path / f"vfr{suffix}", 7, times=times)
        numbers = [read_number(f) for f in decode(path, fps=10)]
        assert numbers == [0, 1, 1, 1, 1, 2, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6]


def test_times_that_begin_late_count_from_the_first_frame(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    path = make_video(tmp_path / "late.mkv", 4, times=[5.0, 5.1, 5.2, 5.3])
    assert [read_number(f) for f in decode(path, fps=10)] == [0, 1, 2, 3]


def test_a_stream_without_container_follows_its_rate(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    with av.open(str(make_video(tmp_path / "v.mp4", 30))) as source, (tmp_path / "v.h264").open("wb") as raw:
        stream = source.streams.video[0]
        filtered = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in source.demux(stream):
            for out in filtered.filter(packet if packet.size else None):
                raw.write(bytes(out))
    assert [read_number(f) for f in decode(tmp_path / "v.h264")] == list(range(30))


def test_one_frame_gives_one(tmp_path: Path, make_video: MakeVideo) -> None:
    assert len(decode(make_video(tmp_path / "one.mp4", 1), fps=60)) == 1


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_rotation_and_mirroring_are_applied(rotation: int, mirror: bool, tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "turned.mp4", quarters(), rotation=rotation, mirror=mirror)

    image = decode(path)[0].astype(int)

    plain = decode(make_video(tmp_path / "plain.mp4", quarters()))[0].astype(int)
    # FFmpeg's order: turned first, then mirrored.
    expected = np.rot90(plain, rotation // 90)
    expected = expected[:, ::-1] if mirror else expected
    np.testing.assert_array_equal(image, expected)
    info = probe(path)
    assert (info.width, info.height) == (expected.shape[1], expected.shape[0])
    if not mirror:
        assert info.rotation == rotation


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path, make_video: MakeVideo) -> None:
    wide = make_video(tmp_path / "wide.mp4", quarters(), pixel_aspect=Fraction(4, 3))
    tall = make_video(tmp_path / "tall.mp4", quarters(), pixel_aspect=Fraction(1, 2))
    nearly = make_video(tmp_path / "nearly.mp4", quarters(240, 320), pixel_aspect=Fraction(4096, 4083))
    assert decode(wide).shape == (1, 48, 85, 3)
    assert decode(tall).shape == (1, 96, 64, 3)
    assert decode(nearly).shape == (1, 240, 320, 3)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "options"),
    [
        ("libx264", "gray", {"crf": "18"}),
        ("libx264", "yuv420p10le", {"crf": "18"}),
        ("libx264", "yuv444p", {"crf": "18"}),
        ("mjpeg", "yuvj420p", {}),
        ("ffv1", "bgr0", {}),
        ("ffv1", "gray10le", {}),
    ],
)
def test_every_pixel_format_gives_the_same_picture(
    codec: str, pix_fmt: str, options: dict[str, str], tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    ramp = np.linspace(10, 245, 64).astype(np.uint8)
    frames = np.broadcast_to(ramp[None, None, :, None], (3, 48, 64, 3)).copy()
    path = make_video(tmp_path / "v.mkv", frames, codec=codec, pix_fmt=pix_fmt, options=options)
    np.testing.assert_allclose(decode(path).astype(int), frames.astype(int), atol=6)


def test_odd_sizes_are_kept(tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber) -> None:
    path = make_video(tmp_path / "odd.mkv", 3, size=(75, 51), pix_fmt="yuv444p")
    frames = decode(path)
    assert frames.shape == (3, 51, 75, 3)
    assert [read_number(f) for f in frames] == [0, 1, 2]


def test_the_short_side_is_reduced_to_the_mean_of_its_pixels(tmp_path: Path, make_video: MakeVideo) -> None:
    rng = np.random.default_rng(0)
    blocks = rng.integers(30, 220, (1, 30, 40, 1), np.uint8)
    frames = np.broadcast_to(blocks.repeat(4, 1).repeat(4, 2), (1, 120, 160, 3)).copy()
    path = make_video(tmp_path / "v.mkv", frames, codec="ffv1", pix_fmt="bgr0")

    small = decode(path, short_side=30)

    assert small.shape == (1, 30, 40, 3)
    np.testing.assert_allclose(small.astype(int), np.broadcast_to(blocks, small.shape).astype(int), atol=2)


def test_a_smaller_video_keeps_its_size(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", 2)
    np.testing.assert_array_equal(decode(path, short_side=256), decode(path, short_side=None))


def test_a_turned_video_has_the_same_short_side(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", quarters(), rotation=90)
    assert decode(path, short_side=24).shape == (1, 32, 24, 3)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 600))
def test_fit_short_side_keeps_the_aspect_to_half_a_pixel(width: int, height: int, short_side: int) -> None:
    w, h = fit_short_side(width, height, short_side)
    assert min(w, h) == min(width, height, short_side)
    scale = min(1, short_side / min(width, height))
    assert abs(w - width * scale) <= 0.5
    assert abs(h - height * scale) <= 0.5


def test_sound_is_ignored(tmp_path: Path, make_video: MakeVideo) -> None:
    silent, loud = make_video(tmp_path / "silent.mp4", 30), make_video(tmp_path / "loud.mp4", 30, audio=True)
    np.testing.assert_array_equal(decode(silent), decode(loud))


def test_frames_come_before_the_end_is_read(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", 100, container_options={"movflags": "faststart"})
    whole = decode(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 8 // 10)
    cut = iter_frames(path, fps=25, short_side=None)
    np.testing.assert_array_equal([next(cut) for _ in range(20)], whole[:20])


def test_memory_does_not_grow_with_the_length(tmp_path: Path, make_video: MakeVideo) -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("no /proc")

    def resident_mib() -> float:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    path = make_video(tmp_path / "long.mp4", np.broadcast_to(np.uint8(0), (200, 480, 640, 3)), fps=15)
    frames = iter_frames(path, fps=15, short_side=None)
    for _ in range(40):
        next(frames)
    before = resident_mib()
    # Held, the pictures would take 135 MiB, and what they are decoded from 68 MiB.
    assert max(resident_mib() for _ in zip(range(159), frames, strict=False)) - before < 30


def test_a_closed_iterator_closes_its_file(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", 20)
    opened = Path("/proc/self/fd")
    if not opened.exists():
        pytest.skip("no /proc")
    before = len(list(opened.iterdir()))
    frames = iter_frames(path, fps=25, short_side=None)
    next(frames)
    assert len(list(opened.iterdir())) == before + 1
    frames.close()
    assert len(list(opened.iterdir())) == before


def test_more_threads_give_the_same_frames(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", 30)
    np.testing.assert_array_equal(decode(path, threads=3), decode(path))


def test_videos_decode_in_several_threads_at_once(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    path = make_video(tmp_path / "v.mp4", 30)
    seen: list[list[int]] = []
    threads = [threading.Thread(target=lambda: seen.append([read_number(f) for f in decode(path)])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [list(range(30))] * 4


def test_probe_tells_what_the_header_says(tmp_path: Path, make_video: MakeVideo) -> None:
    info = probe(make_video(tmp_path / "v.mp4", 30, fps=15, audio=True))
    assert (info.width, info.height, info.fps, info.codec, info.n_frames) == (64, 48, 15, "h264", 30)
    assert info.duration == pytest.approx(2.0, abs=0.01)
    info = probe(make_video(tmp_path / "v.mkv", 30, fps=15))
    assert info.n_frames is None
    assert info.duration == pytest.approx(2.0, abs=0.01)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    assert reason(tmp_path / "no.mp4") == "file not found"
    assert reason(tmp_path) == "not a file"
    with pytest.raises(VideoError, match="file not found"):
        probe(tmp_path / "no.mp4")


def test_an_empty_file_and_text_and_noise_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("This is no video.\n" * 100)
    (tmp_path / "text.txt").write_text("FFmpeg would draw these letters.\n" * 100)
    (tmp_path / "noise.avi").write_bytes(np.random.default_rng(0).bytes(50_000))
    assert reason(tmp_path / "empty.mp4") == "the file is empty"
    assert "not a video" in reason(tmp_path / "text.mp4")
    assert reason(tmp_path / "text.txt") == "a text file, not a video"
    assert "not a video" in reason(tmp_path / "noise.avi")


def test_a_picture_is_named(tmp_path: Path, make_video: MakeVideo) -> None:
    for suffix, codec, pix_fmt in [(".png", "png", "rgb24"), (".jpg", "mjpeg", "yuvj420p")]:
        frame = av.VideoFrame.from_ndarray(quarters()[0], "rgb24").reformat(format=pix_fmt)
        context = av.CodecContext.create(codec, "w")
        context.width, context.height, context.pix_fmt, context.time_base = 64, 48, pix_fmt, Fraction(1, 25)
        path = tmp_path / f"picture{suffix}"
        path.write_bytes(b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)]))
        assert reason(path) == "a picture, not a video"
        # Its content tells, not its name.
        assert reason(path.rename(tmp_path / f"{suffix[1:]}.mp4")) == "a picture, not a video"


def test_sound_alone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert reason(path) == "sound only, no video in it"


def test_the_cover_of_a_song_is_no_video(tmp_path: Path, make_video: MakeVideo) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(quarters()[0], "rgb24").reformat(format="yuvj420p")))
        container.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    assert reason(path) == "sound only, no video in it"


def test_a_playlist_is_refused(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.ts", 10)
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nv.ts\n#EXT-X-ENDLIST\n")
    assert reason(path)


def test_a_trimmed_video_ends_where_it_was_trimmed(
    tmp_path: Path, make_video: MakeVideo, read_number: ReadNumber
) -> None:
    path = make_video(tmp_path / "v.mp4", 50, options={"preset": "ultrafast", "g": "5"})
    data = bytearray(path.read_bytes())
    # As phones trim: the edit list shows one second of two, in milliseconds, and all frames stay in the file.
    (length,) = struct.unpack_from(">I", data, data.index(b"elst") + 12)
    assert length == 2000
    struct.pack_into(">I", data, data.index(b"elst") + 12, 1000)
    path.write_bytes(data)
    assert [read_number(f) for f in decode(path)] == list(range(25))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
def test_a_file_cut_off_is_damaged(suffix: str, tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / f"cut{suffix}", 100)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 6 // 10)
    assert "damaged" in reason(path) or "not a video" in reason(path)


def test_damage_in_the_middle_says_after_how_many_frames(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", 100)
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + len(data) // 10)
    data[middle] = np.random.default_rng(0).bytes(middle.stop - middle.start)
    path.write_bytes(data)
    words = reason(path).split()
    assert words[:2] == ["damaged", "after"]
    assert 20 < int(words[2]) < 80


def test_a_video_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(VideoError("a.mp4", "the file is empty")))
    assert (error.path, error.reason, str(error)) == ("a.mp4", "the file is empty", "a.mp4: the file is empty")


@pytest.mark.parametrize(
    "wrong", [{"fps": 0}, {"fps": float("nan")}, {"fps": 15, "short_side": 0}, {"fps": 15, "threads": 0}]
)
def test_wrong_arguments_are_refused_at_once(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="received"):
        iter_frames(tmp_path / "v.mp4", **{"short_side": None, **wrong})


@pytest.mark.parametrize(("fps", "short_side"), [(25, None), (15, 32), (60, 64), (7.5, 17)])
def test_frames_become_what_a_lossless_video_of_them_becomes(
    fps: float, short_side: int | None, tmp_path: Path, make_video: MakeVideo
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (20, 60, 81, 3), np.uint8)
    video = make_video(tmp_path / "v.mkv", frames, fps=25, codec="ffv1", pix_fmt="bgr0")
    expected = list(iter_frames(video, fps=fps, short_side=short_side))
    found = list(convert_frames(frames, rate=25, fps=fps, short_side=short_side))
    np.testing.assert_array_equal(found, expected)

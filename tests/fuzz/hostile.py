"""Bad videos by the hundred, made of good ones: what a lake of files from the internet holds, and what may be sent.

`make_hostile` gives the same files each time.
"""

from __future__ import annotations

import os
import struct
import wave
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

MakeVideo = Callable[..., Path]

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".ts")


@dataclass(frozen=True)
class Hostile:
    """A file that is given to kresp3d as a video.

    Attributes:
        kind: What is wrong with it.
        path: Where it is.
        good: Whether it must decode all the same; `None`: either will do, as it depends on what was hit.
    """

    kind: str
    path: Path
    good: bool | None


def make_hostile(folder: Path, make_video: MakeVideo) -> list[Hostile]:
    """Make the files, each kind in a folder of its own."""
    good = [make_video(folder / "good" / f"video{suffix}", 24, size=(64, 48)) for suffix in SUFFIXES]
    makers: dict[str, Callable[[Path], Iterator[tuple[Path, bool | None]]]] = {
        "cut off at a tenth": lambda to: _cut(to, good),
        "bytes flipped": lambda to: _flipped(to, good),
        "a range zeroed": lambda to: _zeroed(to, good),
        "header overwritten": lambda to: _header(to, good),
        "another suffix": lambda to: _renamed(to, good),
        "no video": lambda to: _no_video(to),
        "sound alone": lambda to: _sound(to),
        "one or two frames": lambda to: _short(to, make_video),
        "odd size": lambda to: _sizes(to, make_video),
        "turned": lambda to: _turned(to, make_video),
        "times": lambda to: _times(to, make_video),
        "header claims": lambda to: _claims(to, good[0]),
        "huge pictures": lambda to: _huge(to, make_video),
        "no file": lambda to: _no_file(to, good[0]),
        "name": lambda to: _names(to, good[0]),
    }
    found = []
    for kind, make in makers.items():
        to = folder / kind.replace(" ", "-")
        to.mkdir()
        found += [Hostile(kind, path, decodes) for path, decodes in make(to)]
    return found


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _cut(to: Path, good: list[Path]) -> Iterator[tuple[Path, bool | None]]:
    for video in good:
        content = video.read_bytes()
        for tenth in range(10):
            # MPEG-TS says nowhere how much there is: what is there is a video.
            maybe = None if video.suffix == ".ts" else False
            yield _write(to / f"{tenth}{video.suffix}", content[: len(content) * tenth // 10]), maybe


def _flipped(to: Path, good: list[Path]) -> Iterator[tuple[Path, bool | None]]:
    for video in good:
        for seed in range(8):
            random = np.random.default_rng(seed)
            content = np.frombuffer(video.read_bytes(), np.uint8).copy()
            count = max(1, len(content) // (1000, 300, 100, 10)[seed % 4])
            places = random.integers(0, len(content), count)
            content[places] ^= random.integers(1, 256, count, dtype=np.uint8)
            yield _write(to / f"{seed}{video.suffix}", content.tobytes()), None


def _zeroed(to: Path, good: list[Path]) -> Iterator[tuple[Path, bool | None]]:
    for video in good:
        content = video.read_bytes()
        length = len(content) // 5
        for fifth in range(5):
            begin = fifth * length
            zeroed = content[:begin] + bytes(length) + content[begin + length :]
            yield _write(to / f"{fifth}{video.suffix}", zeroed), None


def _header(to: Path, good: list[Path]) -> Iterator[tuple[Path, bool | None]]:
    for video in good:
        content = video.read_bytes()
        for name, head in {"ones": b"\xff" * 64, "noise": np.random.default_rng(1).bytes(64)}.items():
            yield _write(to / f"{name}{video.suffix}", head + content[64:]), None


def _renamed(to: Path, good: list[Path]) -> Iterator[tuple[Path, bool | None]]:
    # FFmpeg looks inside.
    for video, suffix in zip(good, (*SUFFIXES[1:], SUFFIXES[0]), strict=True):
        yield _write(to / f"{video.suffix[1:]}{suffix}", video.read_bytes()), True


def _no_video(to: Path) -> Iterator[tuple[Path, bool | None]]:
    from PIL import Image

    yield _write(to / "empty.mp4", b""), False
    yield _write(to / "text.mp4", b"This is no video.\n" * 100), False
    yield _write(to / "page.mp4", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"), False
    yield _write(to / "json.mp4", b'{"error": "not found"}'), False
    yield _write(to / "subtitles.mp4", b"1\n00:00:00,000 --> 00:00:02,000\nHello\n"), False
    yield _write(to / "playlist.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), False
    yield _write(to / "parts.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n"), False
    yield _write(to / "noise.mp4", np.random.default_rng(0).bytes(20_000)), False
    yield _write(to / "zeros.mp4", bytes(20_000)), False
    yield _write(to / "program.mp4", b"\x7fELF" + bytes(2_000)), False
    picture = Image.fromarray(np.full((48, 64, 3), 90, np.uint8))
    for kind in ("PNG", "JPEG", "BMP", "WEBP", "TIFF"):
        picture.save(to / f"{kind}.mp4", kind)
        yield to / f"{kind}.mp4", False
    # One that moves is a video.
    picture.save(to / "moving.gif", "GIF", save_all=True, append_images=[picture.rotate(90)], duration=100)
    yield to / "moving.gif", None


def _sound(to: Path) -> Iterator[tuple[Path, bool | None]]:
    tone = (np.sin(np.arange(16_000) * 0.2) * 3000).astype(np.int16)
    with wave.open(str(to / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(tone.tobytes())
    yield to / "sound.wav", False
    for suffix in (".mp4", ".mkv", ".mov"):
        path = to / f"sound{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=16_000)
            frame = av.AudioFrame.from_ndarray((tone / 32768).astype(np.float32)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        yield path, False


def _short(to: Path, make_video: MakeVideo) -> Iterator[tuple[Path, bool | None]]:
    for suffix in SUFFIXES:
        for frames in (1, 2):
            # MPEG-TS has no header; so little of it may not be recognised.
            yield make_video(to / f"{frames}{suffix}", frames), None if suffix == ".ts" else True


def _sizes(to: Path, make_video: MakeVideo) -> Iterator[tuple[Path, bool | None]]:
    for width, height in (
        (1, 1),
        (1, 48),
        (64, 1),
        (2, 2),
        (3, 5),
        (17, 9),
        (65, 49),
        (127, 3),
        (8192, 16),
        (16, 8192),
    ):
        frames = np.full((6, height, width, 3), 90, np.uint8)
        yield make_video(to / f"{width}x{height}.avi", frames, codec="png", pix_fmt="rgb24"), True


def _turned(to: Path, make_video: MakeVideo) -> Iterator[tuple[Path, bool | None]]:
    for rotation in (45, 90, 180, 270):
        yield make_video(to / f"{rotation}.mp4", 6, rotation=rotation), True


def _times(to: Path, make_video: MakeVideo) -> Iterator[tuple[Path, bool | None]]:
    patterns = {
        "variable": [0, 0.04, 0.5, 0.52, 1.2, 2.0],
        "late": [5000, 5000.04, 5000.08, 5000.12, 5000.16, 5000.2],
        "gap": [0, 0.04, 36_000, 36_000.04, 36_000.08, 36_000.12],
        "slow": [0, 9, 18, 27, 36, 45],
        "negative": [-3, -2.96, -2.92, 0, 0.04, 0.08],
        "fast": [0, 0.001, 0.002, 0.003, 0.004, 0.005],
    }
    for name, times in patterns.items():
        for suffix in (".mkv", ".mp4"):
            yield make_video(to / f"{name}{suffix}", 6, times=times), True
    for fps in (1, 240, 1000):
        yield make_video(to / f"{fps}.mp4", 6, fps=fps), True
    # A stream without a container has no times at all.
    path = make_video(to / "whole.mkv", 12)
    with av.open(str(path)) as source, av.open(str(to / "none.h264"), "w", format="h264") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                sink.mux(packet)
    path.unlink()
    yield to / "none.h264", True


def _claims(to: Path, video: Path) -> Iterator[tuple[Path, bool | None]]:
    content = video.read_bytes()
    hours = 10 * 3600
    # ISO/IEC 14496-12: after 4 bytes of version and flags and 8 of dates, scale and duration (mvhd, mdhd).
    for name, box, offset, value in (
        ("ten-hours-film", b"mvhd", 20, hours * 1000),
        ("ten-hours-track", b"tkhd", 24, hours * 1000),
        ("ten-hours-media", b"mdhd", 20, hours * 12_800),
        ("scale-0", b"mdhd", 16, 0),
        ("scale-1", b"mdhd", 16, 1),
        ("scale-largest", b"mdhd", 16, 2**32 - 1),
        ("times-0", b"stts", 16, 0),
        ("times-largest", b"stts", 16, 2**31 - 1),
        ("many-samples", b"stsz", 12, 2**31 - 1),
        ("many-times", b"stts", 12, 2**31 - 1),
        ("many-chunks", b"stco", 8, 2**31 - 1),
        ("far-chunks", b"stco", 12, 2**31 - 1),
        ("long-box", b"moov", -4, 2**32 - 1),
        ("short-box", b"moov", -4, 4),
    ):
        at = content.index(box) + offset
        yield _write(to / f"{name}.mp4", content[:at] + struct.pack(">I", value) + content[at + 4 :]), None


def _huge(to: Path, make_video: MakeVideo) -> Iterator[tuple[Path, bool | None]]:
    # The size in an AVI header and in the JPEG pictures inside, of a file of a few kB: 65,500×65,500 pixels are 13 GB.
    path = make_video(to / "jpeg.avi", 4, codec="mjpeg", pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    struct.pack_into("<II", content, content.index(b"strf") + 12, 65_500, 65_500)
    yield _write(to / "header.avi", bytes(content)), None
    for name, side in (("pictures", 65_500), ("later-picture", 20_000)):
        content = bytearray(path.read_bytes())
        at = content.rindex(b"\xff\xc0") if name == "later-picture" else -1
        while (at := content.find(b"\xff\xc0", at if at >= 0 else 0)) >= 0:
            struct.pack_into(">HH", content, at + 5, side, side)
            at += 9
        yield _write(to / f"{name}.avi", bytes(content)), False
    path.unlink()
    # A PNG of 30,000×30,000 black pixels, packed into 1 MB, as a motion picture.
    side = 30_000
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 + side * 3)) for _ in range(200)) + packer.flush()

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    picture += chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    yield _write(to / "bomb.mp4", picture), False
    path = make_video(to / "png.avi", 2, codec="png", pix_fmt="rgb24")
    content = path.read_bytes()
    begin = content.index(b"\x89PNG")
    length = struct.unpack("<I", content[begin - 4 : begin])[0]
    picture = picture[:length].ljust(length, b"\0")
    yield _write(to / "moving-bomb.avi", content[:begin] + picture + content[begin + length :]), None
    path.unlink()
    header = b"YUV4MPEG2 W100000 H100000 F25:1 Ip A1:1 C420jpeg\nFRAME\n"
    yield _write(to / "raw.y4m", header + bytes(1000)), False


def _no_file(to: Path, video: Path) -> Iterator[tuple[Path, bool | None]]:
    os.mkfifo(to / "pipe.mp4")
    (to / "zero.mp4").symlink_to("/dev/zero")
    (to / "random.mp4").symlink_to("/dev/urandom")
    (to / "terminal.mp4").symlink_to("/dev/tty")
    (to / "broken.mp4").symlink_to("nowhere.mp4")
    (to / "circle.mp4").symlink_to("circle.mp4")
    (to / "folder.mp4").mkdir()
    for name in ("pipe", "zero", "random", "terminal", "broken", "circle", "folder", "missing"):
        yield to / f"{name}.mp4", False
    (to / "link.mp4").symlink_to(video.resolve())
    yield to / "link.mp4", True
    yield to / ("long" * 100 + ".mp4"), False


def _names(to: Path, video: Path) -> Iterator[tuple[Path, bool | None]]:
    names = [
        "with spaces  and more.mp4",
        "new\nline.mp4",
        "tab\tand\rreturn.mp4",
        "\x1b[31mred\x1b[0m.mp4",
        "日本語 Ünïcödé 🎬.mp4",
        "\u202egpj.mp4",
        "e\u0301.mp4",
        "quote'\"`.mp4",
        "percent%20%s%d.mp4",
        "-dash.mp4",
        "--help.mp4",
        "concat:a.mp4",
        "pipe:0.mp4",
        "http:a.mp4",
        "[bold]markup.mp4",
        "comma,semicolon;.mp4",
        "*?[a].mp4",
        "$HOME.mp4",
        "back\\slash.mp4",
        "x" * 251 + ".mp4",
        ".hidden.mp4",
        "CAPITAL.MP4",
        os.fsdecode(b"not-utf8-\xff\xfe.mp4"),
    ]
    for name in names:
        yield _write(to / name, video.read_bytes()), True

"""Decoding a video to RGB frames at a fixed rate, one frame at a time.

    packets ──decode──▶ frames in order of display ──resample by time──▶ resize, RGB ──turn upright──▶ uint8 [H, W, 3]

Only frames that are asked for are resized, and no more than two decoded frames are held, so memory does not grow
with the length of the video.
"""

from __future__ import annotations

import errno
import math
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from kresp3d.system.errors import UsageError, VideoError
from kresp3d.video.resample import resample, timeline

Image = npt.NDArray[np.uint8]
Frame = TypeVar("Frame")

#: Share of the announced packets that must be there; some writers announce a few that never come.
WHOLE = 0.95
#: Pixels this close to square are meant to be square: UCF101 has files with 4096:4083.
SQUARE = 0.03
#: Pixels of a picture at most, those of 8K (8192×4320): a file of a few bytes may claim pictures that fill any memory.
MAX_PIXELS = 8192 * 4320
#: What FFmpeg opens though it is no video: it renders text as pictures, and a playlist names other files.
REFUSED = {
    "tty": "a text file",
    "ffmetadata": "a text file",
    "image2": "a picture",
    "ico": "a picture",
    "hls": "a playlist",
    "concat": "a playlist",
    "dash": "a playlist",
    "sdp": "a playlist",
}


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video says of itself; `None` where it does not.

    `width` and `height` are those of the picture as it is shown, in pixels. `fps` is the average rate, `duration` is
    in seconds, and `rotation` is the turn in degrees counter-clockwise (0 to 359) that puts the stored picture upright.
    """

    width: int
    height: int
    fps: float | None
    duration: float | None
    codec: str
    n_frames: int | None
    rotation: int


def iter_frames(path: str | Path, *, fps: float, short_side: int | None, threads: int = 1) -> Iterator[Image]:
    """Decode a video, resampled by its timestamps.

    Output frame `k` is what a viewer sees `k / fps` seconds after the first frame. All frames have one size. The
    rotation, the mirroring and the shape of the pixels that the file asks for are applied. Sound is ignored.

    Args:
        path: A video in any container and codec that FFmpeg reads.
        fps: Frames per second of the output.
        short_side: Largest short side of the output, in pixels; larger pictures are scaled down, smaller ones kept.
            `None`: never scale.
        threads: Threads of the decoder.

    Yields:
        RGB frames, uint8 `[H, W, 3]`.

    Raises:
        UsageError: If `fps`, `short_side` or `threads` is not positive.
        VideoError: If the file is missing, is no video, or is damaged; in the last case possibly after some frames.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise UsageError(f"fps must be a positive number, received {fps!r}")
    if short_side is not None and short_side < 1:
        raise UsageError(f"short_side must be at least 1 pixel, received {short_side!r}")
    if threads < 1:
        raise UsageError(f"threads must be at least 1, received {threads!r}")
    return _iter_frames(Path(path), fps, short_side, threads)


def _iter_frames(path: Path, fps: float, short_side: int | None, threads: int) -> Iterator[Image]:
    with _open(path, threads) as (container, stream):
        frames = resample(timeline(_decode(path, container, stream), _period(stream)), fps)
        yield from _converted(frames, _Converter(path, stream, short_side))


def convert_frames(frames: Iterable[Image], *, rate: float, fps: float, short_side: int | None) -> Iterator[Image]:
    """Bring frames to another rate and size, as `iter_frames` does with those of a video.

    Args:
        frames: RGB frames in time, uint8 `[H, W, 3]`.
        rate: Frames per second of `frames`.
        fps: Frames per second of the output.
        short_side: As `iter_frames` takes it.

    Yields:
        RGB frames, uint8 `[H, W, 3]`; one that is held is the same array again.
    """
    reformatter = VideoReformatter()

    def convert(frame: Image) -> Image:
        height, width = frame.shape[:2]
        size = fit_short_side(width, height, short_side)
        if size == (width, height):
            return frame
        source = VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
        shrunk = reformatter.reformat(source, *size, "rgb24", interpolation=Interpolation.AREA, threads=1)
        return cast(Image, shrunk.to_ndarray())

    return _converted(resample(((number / rate, frame) for number, frame in enumerate(frames)), fps), convert)


def _converted(frames: Iterable[Frame], convert: Callable[[Frame], Image]) -> Iterator[Image]:
    """Convert each frame once, however long it is held."""
    held: tuple[Frame, Image] | None = None
    for frame in frames:
        if held is None or frame is not held[0]:
            held = frame, convert(frame)
        yield held[1]


def probe(path: str | Path) -> VideoInfo:
    """Read a video's header, and its first frame, which says how to turn it.

    Raises:
        VideoError: If the file is missing, is no video, or not even its first frame can be decoded.
    """
    path = Path(path)
    with _open(path, threads=1) as (container, stream):
        _, frame = next(_decode(path, container, stream))
        width, height = _display_size(frame, stream)
        if _Orientation.of(frame).transpose:
            width, height = height, width
        duration = None
        if stream.duration is not None and stream.time_base is not None:
            duration = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration = container.duration / av.time_base
        rate = stream.average_rate or stream.guessed_rate
        return VideoInfo(
            width=width,
            height=height,
            fps=float(rate) if rate else None,
            duration=duration,
            codec=stream.codec_context.name,
            n_frames=stream.frames or None,
            rotation=frame.rotation % 360,
        )


@contextmanager
def _open(path: Path, threads: int) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise VideoError(path, "file not found") from error
    except OSError as error:
        raise VideoError(path, f"cannot be opened ({_say(error)})") from error
    except ValueError as error:
        # With a zero byte, or signs that are no text.
        raise VideoError(path, "no file can have this name") from error
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(path, "not a file")
    if status.st_size == 0:
        raise VideoError(path, "the file is empty")
    try:
        # An absolute path, since FFmpeg takes `concat:a.mp4` for a protocol. A file that names others, such as a
        # playlist, gets nothing from the network.
        container = av.open(str(path.resolve()), metadata_errors="replace", options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        if error.errno == errno.EACCES:
            raise VideoError(path, "no permission to read it") from error
        raise VideoError(path, f"not a video that FFmpeg can read ({_say(error)})") from error
    with container:
        yield container, _video_stream(path, container, threads)


def _video_stream(path: Path, container: InputContainer, threads: int) -> VideoStream:
    for name in container.format.name.split(","):
        kind = "a picture" if name.endswith("_pipe") else REFUSED.get(name)
        if kind:
            raise VideoError(path, f"{kind}, not a video")
    # The cover of a song is a video stream too.
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise VideoError(path, "sound only, no video in it" if container.streams.audio else "no video in it")
    stream = streams[0]
    if stream.codec_context is None:
        raise VideoError(path, "its codec is not known to FFmpeg")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_PIXELS:
        raise VideoError(
            path, f"pictures of {width}×{height} pixels; at most {MAX_PIXELS / 1e6:.0f} million are decoded"
        )
    stream.codec_context.thread_count = threads
    # For pictures that are larger than the header says.
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def _period(stream: VideoStream) -> float:
    """Seconds between frames by the header, or 1/25 where it is silent or gives the ticks of a clock."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 1 <= rate <= 240:
            return float(1 / rate)
    return 1 / 25


def _decode(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[tuple[float | None, VideoFrame]]:
    """Presentation time in seconds and frame, in order of display."""
    announced = stream.frames
    if "mp4" in container.format.name:
        # Its count has the frames that were trimmed away, its index has not.
        announced = min(announced, len(stream.index_entries))
    packets = frames = 0
    cut = False
    end = 0.0
    try:
        for packet in container.demux(stream):
            packets += packet.size > 0
            cut = cut or packet.is_corrupt
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            for frame in packet.decode():
                frames += 1
                yield frame.time, frame
    except av.FFmpegError as error:
        raise VideoError(path, f"damaged after {frames} frames ({_say(error)})") from error
    # FFmpeg takes a file that was cut off for one that has ended.
    if packets < WHOLE * announced:
        raise VideoError(path, f"damaged after {frames} frames: {packets} of {announced} are in the file")
    if cut or end < WHOLE * _announced_seconds(container, stream) - _period(stream):
        raise VideoError(path, f"damaged after {frames} frames: the file is cut off")
    if not frames:
        raise VideoError(path, "no frame in it can be decoded")


def _announced_seconds(container: InputContainer, stream: VideoStream) -> float:
    """When the pictures end by the header of a Matroska or WebM file, which does not count them; 0 if not said."""
    if "matroska" not in container.format.name:
        return 0.0
    said = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if said:
        hours, minutes, seconds = map(float, said.groups())
        return 3600 * hours + 60 * minutes + seconds
    # The whole file's length may be that of its sound.
    return (container.duration or 0) / av.time_base if len(container.streams) == 1 else 0.0


def _say(error: av.FFmpegError | OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


class _Converter:
    """Turns frames into upright RGB images of the size that the first one gives."""

    def __init__(self, path: Path, stream: VideoStream, short_side: int | None) -> None:
        self._path = path
        self._stream = stream
        self._short_side = short_side
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None
        self._orientation = _Orientation()

    def __call__(self, frame: VideoFrame) -> Image:
        if self._size is None:
            self._size = fit_short_side(*_display_size(frame, self._stream), self._short_side)
            self._orientation = _Orientation.of(frame)
        width, height = self._size
        # The mean over the area of each new pixel: no aliasing at any factor. It enlarges by repeating pixels.
        shrinks = width <= frame.width and height <= frame.height
        method = Interpolation.AREA if shrinks else Interpolation.BICUBIC
        try:
            rgb = self._reformatter.reformat(frame, width, height, "rgb24", interpolation=method, threads=1)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(self._path, f"pixels of format {frame.format.name} do not convert to RGB") from error
        return self._orientation.apply(cast(Image, rgb.to_ndarray()))


def fit_short_side(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Width and height with the same aspect whose short side is at most `short_side`. All in pixels."""
    short = min(width, height)
    if short_side is None or short <= short_side:
        return width, height
    return round(width * short_side / short), round(height * short_side / short)


def _display_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Width and height of the stored picture with square pixels."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if abs(aspect - 1) <= SQUARE or not 1 / 4 <= aspect <= 4:
        return frame.width, frame.height
    # The smaller side stays, so that no detail is lost.
    if aspect > 1:
        return round(frame.width * aspect), frame.height
    return frame.width, round(frame.height / aspect)


@dataclass(frozen=True, slots=True)
class _Orientation:
    """How the stored picture is put upright: transpose first, then mirror."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> _Orientation:
        """Read the display matrix `(a, b, u; c, d, v; x, y, w)` of ISO/IEC 14496-12, to the nearest quarter turn."""
        side_data = cast(SideDataContainer, frame.side_data)
        if SideData.DISPLAYMATRIX not in side_data:
            return cls()
        # A stored point (p, q) is shown at (a p + c q, b p + d q).
        a, b, _, c, d = np.frombuffer(bytes(side_data[SideData.DISPLAYMATRIX]), np.int32)[:5].tolist()
        if abs(b) > abs(a):
            return cls(transpose=True, mirror_x=c < 0, mirror_y=b < 0)
        return cls(mirror_x=a < 0, mirror_y=d < 0)

    def apply(self, image: Image) -> Image:
        """Put an image `[H, W, 3]` upright."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        if self.mirror_x:
            image = image[:, ::-1]
        if self.mirror_y:
            image = image[::-1]
        return np.ascontiguousarray(image)

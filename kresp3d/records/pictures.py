"""A video as JPEG pictures. Runs in worker processes, so nothing here imports TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kresp3d.system.errors import VideoError
from kresp3d.video.decode import iter_frames
from kresp3d.video.jpeg import encode_jpeg

#: A record is read whole for every clip, and a protocol buffer ends at 2 GiB.
MAX_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Pictures:
    """JPEG pictures of one video, in time, all of `height` by `width` pixels."""

    jpegs: tuple[bytes, ...]
    height: int
    width: int


def video_to_pictures(path: Path, fps: float, short_side: int | None, quality: int) -> Pictures:
    """Decode a video wholly.

    Args:
        path: The video.
        fps: Pictures in a second.
        short_side: Of the pictures, in pixels; smaller videos are kept as they are.
        quality: JPEG quality, 1 to 100.

    Raises:
        VideoError: If it cannot be decoded or is too long for one record.
    """
    jpegs: list[bytes] = []
    size, height, width = 0, 0, 0
    last = None
    for frame in iter_frames(path, fps=fps, short_side=short_side):
        height, width = frame.shape[:2]
        # A frame that is held, in a video slower than `fps`, is the same array again.
        jpegs.append(jpegs[-1] if frame is last else encode_jpeg(frame, quality))
        last = frame
        size += len(jpegs[-1])
        if size > MAX_BYTES:
            seconds = len(jpegs) / fps
            raise VideoError(
                path, f"more than {MAX_BYTES >> 20} MiB of pictures after {seconds:.0f} s; cut it into shorter videos"
            )
    if not jpegs:
        raise VideoError(path, "no frames")
    return Pictures(tuple(jpegs), height, width)

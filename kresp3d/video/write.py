"""Writing a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from kresp3d.system.errors import KrespError
from kresp3d.system.files import written_aside

Image = npt.NDArray[np.uint8]


@contextmanager
def video_file(path: Path, fps: float) -> Iterator[Callable[[Image], None]]:
    """Write an H.264 video in MP4, picture by picture; it appears as `path` when the block ends well.

    Args:
        path: Ends in `.mp4`; what is there is replaced.
        fps: Pictures in a second.

    Yields:
        A function that adds a picture, RGB, uint8 `[H, W, 3]`, all of one size with even sides.

    Raises:
        KrespError: If this build of PyAV cannot write H.264.
    """
    with written_aside(path) as temporary, av.open(str(temporary), "w", options={"movflags": "+faststart"}) as file:
        try:
            stream = file.add_stream(
                "libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "20", "preset": "veryfast"}
            )
        except av.codec.codec.UnknownCodecError:
            raise KrespError(
                "this build of PyAV has no libx264 to write H.264 with: pip install --upgrade av, or write a .png"
            ) from None
        stream.pix_fmt = "yuv420p"

        size: tuple[int, int] | None = None

        def add(picture: Image) -> None:
            nonlocal size
            height, width, _ = picture.shape
            if size is None:
                if height % 2 or width % 2:
                    raise ValueError(f"expected pictures with even sides, received {height} x {width}")
                size = stream.height, stream.width = height, width
            if size != (height, width):
                raise ValueError(f"expected pictures of {size[0]} x {size[1]}, received {height} x {width}")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            file.mux(stream.encode(frame))

        yield add
        file.mux(stream.encode(None))

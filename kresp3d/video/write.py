"""Writing a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import numpy.typing as npt

from kresp3d.system.errors import KrespError
from kresp3d.system.files import written_aside

Image = npt.NDArray[np.uint8]


#: Of the encoder, for a video to look at.
OPTIONS = {"crf": "20", "preset": "veryfast"}


@contextmanager
def video_file(
    path: Path, fps: float, *, pixels: Literal["rgb24", "yuv420p"] = "rgb24", options: Mapping[str, str] = OPTIONS
) -> Iterator[Callable[[Image], None]]:
    """Write an H.264 video in MP4, picture by picture; it appears as `path` when the block ends well.

    Args:
        path: Ends in `.mp4`; what is there is replaced.
        fps: Pictures in a second.
        pixels: What is added: RGB, uint8 `[H, W, 3]`; or Y, Cb and Cr packed, uint8 `[H * 3 / 2, W]`, which are encoded
            as they are.
        options: Of the encoder, `libx264`.

    Yields:
        A function that adds a picture, all of one size with even sides.

    Raises:
        KrespError: If this build of PyAV cannot write H.264.
    """
    with written_aside(path) as temporary, av.open(str(temporary), "w", options={"movflags": "+faststart"}) as file:
        try:
            stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=dict(options))
        except av.codec.codec.UnknownCodecError:
            raise KrespError(
                "this build of PyAV has no libx264 to write H.264 with: pip install --upgrade av"
            ) from None
        stream.pix_fmt = "yuv420p"

        size: tuple[int, int] | None = None

        def add(picture: Image) -> None:
            nonlocal size
            height, width = picture.shape[:2]
            if pixels == "yuv420p":
                height = height * 2 // 3
            if size is None:
                if height % 2 or width % 2:
                    raise ValueError(f"expected pictures with even sides, received {height} x {width}")
                size = stream.height, stream.width = height, width
            if size != (height, width):
                raise ValueError(f"expected pictures of {size[0]} x {size[1]}, received {height} x {width}")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=pixels)
            file.mux(stream.encode(frame))

        yield add
        file.mux(stream.encode(None))

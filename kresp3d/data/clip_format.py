"""What a network's input clip is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from kresp3d.config import Config
from kresp3d.data.sampling import clip_span


class ClipFormat(BaseModel):
    """How clips are cut from a video: all that prediction needs of a configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: PositiveInt
    """Frames `T` in each stream."""
    step: PositiveInt
    """Step size `s` of the residual frames."""
    size: PositiveInt
    """Side of the input in pixels, `S`."""
    frame_stride: PositiveInt
    """Every so many frames make a clip."""
    fps: PositiveFloat
    """Frames a second of the video that clips are cut from; a video at another rate is resampled first."""
    short_side: PositiveInt
    """Pixels to which the shorter side of a decoded frame is brought before its centre square is cut out."""

    @classmethod
    def of(cls, config: Config) -> ClipFormat:
        """The clips that a configuration asks for."""
        return cls(
            frames=config.model.frames,
            step=config.model.step,
            size=config.model.size,
            frame_stride=config.clip.frame_stride,
            fps=config.data.fps,
            short_side=config.data.short_side,
        )

    @property
    def length(self) -> int:
        """Frames `T + s` of a clip."""
        return self.frames + self.step

    @property
    def span(self) -> int:
        """Frames of a video from a clip's first to its last, both counted."""
        return clip_span(self.frames, self.step, self.frame_stride)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of a clip, `(T + s, S, S, 3)`."""
        return (self.length, self.size, self.size, 3)

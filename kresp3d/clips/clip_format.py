"""What a network's input clip is made of."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from kresp3d.clips.sampling import clip_span
from kresp3d.config.schema import Config
from kresp3d.system.arguments import shown
from kresp3d.system.errors import UsageError

#: Of the paper and of the configuration's defaults: frames are kept at 256 pixels, and clips are of 112.
SHORT_SIDE_BY_SIZE: Final = Fraction(256, 112)


def short_side_for(size: int) -> int:
    """The short side, in pixels, of frames that clips of a size are usually cut from."""
    return max(1, round(size * SHORT_SIDE_BY_SIZE))


class ClipFormat(BaseModel):
    """How clips are cut from a video: all that reading them needs of a configuration.

    `Run.clip` is that of a trained run. For a network of your own, `frames`, `step` and `size` are the network's; the
    rest is the paper's unless you say otherwise. Only keywords are taken.

    Examples:
        >>> clip = ClipFormat(frames=16, size=64)
        >>> clip.shape, clip.fps, clip.short_side
        ((17, 64, 64, 3), 15.0, 146)

    Raises:
        UsageError: If a value is missing, unknown or out of range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    frames: PositiveInt
    """Frames `T` in each stream."""
    size: PositiveInt
    """Side of the input in pixels, `S`."""
    step: PositiveInt = 1
    """Step size `s` of the residual frames."""
    frame_stride: PositiveInt = 1
    """Every so many frames make a clip."""
    fps: PositiveFloat = 15.0
    """Frames a second of the video that clips are cut from; a video at another rate is resampled first."""
    short_side: PositiveInt = Field(default_factory=lambda values: short_side_for(values["size"]))
    """Pixels to which the shorter side of a decoded frame is brought, if it is larger, before its centre square is cut
    out and brought to `size`. By default `size * 256 / 112`, the paper's ratio: training keeps frames so much larger
    than clips, and the scores are those of frames that were scaled down in the same two steps."""

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, values: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return check(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "a clip"
            # No error of Pydantic's: its text has several lines and an address.
            received = "" if first["type"] == "missing" else f", received {shown(first['input'])}"
            raise UsageError(f"ClipFormat: {key}: {first['msg']}{received}") from None

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

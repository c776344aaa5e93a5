"""What a network takes and gives, as every exported file carries it along."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.version import __version__

Format = Literal["keras", "saved_model", "litert", "openvino", "onnx"]
Quantize = Literal["none", "float16", "dynamic", "int8"]
QUANTIZE: tuple[Quantize, ...] = get_args(Quantize)

#: Version of this description, and of the wiring of the network that it describes. A reader refuses any other.
VERSION: Final = 2

#: Why networks of version 1 are refused.
OTHER_WIRING = (
    "holds a network of format 1, which took the feature residual of the pseudo-3D module's input, not of its motion "
    "feature as the paper does"
)


class NetworkInfo(BaseModel):
    """The description of a network in any format."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[2] = VERSION
    """Of this description."""
    kresp3d: str = __version__
    """The release that wrote it."""
    name: str
    """The network's name, such as the configuration's `name`."""
    format: Format
    quantize: Quantize = "none"
    """What was done to the weights and activations; `none` is float32."""
    labels: tuple[str, ...] = Field(min_length=2)
    """The classes, in the order of the outputs."""
    clip: ClipFormat
    clips: PositiveInt
    """Clips spread over a video whose scores are averaged, unless the user says otherwise."""
    source: str
    """SHA-256 of the `model.keras` that it was made of."""

    def to_text(self) -> str:
        """JSON, as it is stored in exported files."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_text(cls, text: str | bytes, path: Path) -> NetworkInfo:
        """Read what `to_text` gave.

        Args:
            text: The JSON.
            path: The exported file or folder, for messages.

        Raises:
            KrespError: If it is not a description, or one of another version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            if key == "version" and first["input"] == 1:
                raise KrespError(f"{path} {OTHER_WIRING}; train it again, and export that") from None
            if key == "version":
                raise KrespError(
                    f"{path} was exported by another version of kresp3d (its description is of version "
                    f"{first['input']!r}, expected {VERSION}); export the run again"
                ) from None
            reason = f"{key}: {first['msg']}" if key else first["msg"]
            raise KrespError(f"{path} carries a damaged description ({reason}); export the run again") from None
        except UsageError as error:
            # Of the clips.
            reason = str(error).replace("ClipFormat: ", "clip.", 1)
            raise KrespError(f"{path} carries a damaged description ({reason}); export the run again") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""The axes of a clip, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

#: The axes of every tensor between the layers.
AXES = "[batch, frames, height, width, channels]"


def clip_axes(layer: str, shape: Sequence[int | None]) -> tuple[int | None, ...]:
    """Return the five axes of a clip's shape.

    Args:
        layer: The layer's name, for the message.
        shape: Shape of the layer's input; `None` for what is not known.

    Raises:
        ValueError: If the shape has another number of axes.
    """
    if len(shape) != 5:
        raise ValueError(f"{layer}: expected an input {AXES}, received {len(shape)} axes: {tuple(shape)}")
    return tuple(shape)


def known_channels(layer: str, shape: Sequence[int | None]) -> int:
    """Return the number of channels of a clip's shape, which weights depend on.

    Raises:
        ValueError: If the shape is not that of a clip, or its channels are not known.
    """
    channels = clip_axes(layer, shape)[-1]
    if channels is None:
        raise ValueError(f"{layer}: expected a known number of channels, received an input {tuple(shape)}")
    return channels


def sizes(x: Any) -> tuple[Any, ...]:
    """Return the lengths of all axes of a tensor but the batch, as numbers where they are known.

    The length of the batch is never computed. Nothing would use it, so the operation would stay in an exported graph
    without an end, and converters take that for another input of the network.
    """
    return tuple(x.shape[1:]) if None not in x.shape[1:] else tuple(ops.shape(x)[1:])

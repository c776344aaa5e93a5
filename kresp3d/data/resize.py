"""Resizing the square crop of a frame to the size of the network's input."""

from __future__ import annotations

from functools import cache
from typing import Any

import tensorflow as tf


def resize_square(square: tf.Tensor, size: int) -> tf.Tensor:
    """Resize uint8 squares `[side, side, 3]`, or `[n, side, side, 3]`, to `[…, size, size, 3]`.

    Shrinking takes the mean of the area under each pixel, which keeps out aliasing as an antialiased bilinear filter
    does (0.1 to 0.4 grey levels apart at factors up to 2.3) in a third of its time. Enlarging is bilinear.
    """

    def resize(method: str) -> tf.Tensor:
        return tf.cast(tf.round(tf.image.resize(square, [size, size], method)), tf.uint8)

    side = tf.shape(square)[-2]
    return tf.case(
        [(side == size, lambda: square), (side > size, lambda: resize("area"))], default=lambda: resize("bilinear")
    )


@cache
def compiled_resize(size: int) -> Any:
    """`resize_square` of one square, compiled once for all sides."""
    signature = [tf.TensorSpec([None, None, 3], tf.uint8)]
    return tf.function(lambda square: resize_square(square, size), signature, autograph=False)

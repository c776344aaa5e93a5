"""Geometric and photometric augmentation of a clip, as TensorFlow graphs: one draw for all its frames."""

from __future__ import annotations

import math

import tensorflow as tf

from kresp3d.config.schema import AugmentConfig


def warps(augment: AugmentConfig) -> bool:
    """Whether a configuration asks for any warp."""
    return any((augment.rotation, augment.translation, augment.zoom, augment.stretch))


def random_warp(frames: tf.Tensor, augment: AugmentConfig, seed: tf.Tensor) -> tf.Tensor:
    """Rotate, zoom, stretch and move a clip about its centre; what comes in from outside is black.

    Args:
        frames: uint8 `[T, S, S, C]`.
        augment: How far, at most.
        seed: int64 `[2]`; the same seed gives the same warp.

    Returns:
        uint8 `[T, S, S, C]`.
    """
    draws = tf.random.stateless_uniform([5], seed, -1.0, 1.0, alg="philox")
    transform = affine(
        side=tf.cast(tf.shape(frames)[1], tf.float32),
        angle=draws[0] * math.radians(augment.rotation),
        zoom=tf.exp(draws[1] * math.log1p(augment.zoom)),
        stretch=tf.exp(draws[2] * math.log1p(augment.stretch)),
        right=draws[3] * augment.translation,
        down=draws[4] * augment.translation,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=frames,
        transforms=transform[None],
        output_shape=tf.shape(frames)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def affine(
    side: tf.Tensor, angle: tf.Tensor, zoom: tf.Tensor, stretch: tf.Tensor, right: tf.Tensor, down: tf.Tensor
) -> tf.Tensor:
    """The map from a pixel of the warped picture to the one of the original that it shows.

    The picture is stretched, zoomed and rotated about its centre, then moved.

    Args:
        side: Of the square picture, in pixels.
        angle: In radians, clockwise as seen, since rows count downwards.
        zoom: Size of things, as a multiple of what it was.
        stretch: Their width over their height, likewise; the area stays.
        right: Share of the side that they move to the right.
        down: Share of the side that they move down.

    Returns:
        float32 `[8]` as `ImageProjectiveTransformV3` takes it: `x = t0 x' + t1 y' + t2`, `y = t3 x' + t4 y' + t5`.
    """
    centre = (side - 1.0) / 2.0
    wide, high = zoom * tf.sqrt(stretch), zoom / tf.sqrt(stretch)
    cos, sin = tf.cos(angle), tf.sin(angle)
    # The inverse of a rotation times a diagonal matrix.
    a, b, c, d = cos / wide, sin / wide, -sin / high, cos / high
    x, y = centre + side * right, centre + side * down
    return tf.stack([a, b, centre - a * x - b * y, c, d, centre - c * x - d * y, 0.0, 0.0])


def random_brightness(frames: tf.Tensor, brightness: float, seed: tf.Tensor) -> tf.Tensor:
    """Multiply all pixels of a clip by one factor, drawn between `1 / (1 + brightness)` and `1 + brightness`.

    Args:
        frames: uint8, any shape.
        brightness: At least 0.
        seed: int64 `[2]`.

    Returns:
        uint8 of the same shape; values above 255 become 255.
    """
    factor = tf.exp(tf.random.stateless_uniform([], seed, -1.0, 1.0, alg="philox") * math.log1p(brightness))
    return tf.cast(tf.round(tf.minimum(tf.cast(frames, tf.float32) * factor, 255.0)), tf.uint8)

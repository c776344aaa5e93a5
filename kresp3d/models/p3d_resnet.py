"""The two-stem pseudo-3D ResNet, and its full 3D baseline."""

from __future__ import annotations

from typing import Any

import keras

from kresp3d.config import ModelConfig
from kresp3d.layers import Bottleneck, ResidualFrames, SpatialMaxPool, Stem

# RGB goes to [-1, 1]. Residuals are a few grey levels in most places; dividing them by 32 brings them to the same
# order, so that the first batch normalisation sees a variance well above its epsilon.
_RGB_SCALE, _RGB_OFFSET = 1 / 127.5, -1.0
_RESIDUAL_SCALE = 1 / 32


def build_model(config: ModelConfig, classes: int) -> keras.Model:
    """Build the network of the paper's Table 1, or one of its variants (Table 2).

                 ┌─ first T frames ── normalise ── RGB stem ──────┐
        frames ──┤                                                ├─ concatenate ─ res2 … res5 ─ mean ─ fc1 ─ fc2 ─▶
                 └─ residual frames ─ normalise ── residual stem ─┘

    One modality alone has one stem, with twice the channels.

    Args:
        config: The network's settings.
        classes: Number of classes.

    Returns:
        A functional model from `{"frames": uint8 [batch, frames + step, size, size, 3]}` to float32 logits
        `[batch, classes]`. It is float32 or mixed precision, as `keras.config.dtype_policy()` says.
    """
    if classes < 2:
        raise ValueError(f"build_model: expected at least 2 classes, received {classes}")
    frames = keras.Input((config.frames + config.step, config.size, config.size, 3), dtype="uint8", name="frames")
    x = _stems(frames, config)
    if config.stem_pool:
        x = SpatialMaxPool(name="stem_pool")(x)
    for stage, blocks in enumerate(config.blocks):
        for block in range(blocks):
            x = Bottleneck(
                config.width * 2**stage,
                config.variant,
                # res2 keeps the picture's size; every later stage halves it in its first block.
                spatial_stride=2 if stage > 0 and block == 0 else 1,
                expansion=config.expansion,
                attention=config.attention,
                feature_residual=config.feature_residual,
                attention_pool=config.attention_pool,
                norm=config.norm,
                name=f"res{stage + 2}_{block + 1}",
            )(x)
    x = keras.layers.GlobalAveragePooling3D(name="mean")(x)
    x = keras.layers.Dense(config.fc1, activation="relu", kernel_initializer="he_normal", name="fc1")(x)
    x = keras.layers.Dropout(config.dropout, name="dropout")(x)
    logits = keras.layers.Dense(classes, dtype="float32", name="fc2")(x)
    return keras.Model({"frames": frames}, logits, name=f"{config.variant}_{config.modality}")


def _stems(frames: Any, config: ModelConfig) -> Any:
    streams = []
    if config.modality in ("rgb", "both"):
        first = frames[:, : config.frames]
        rgb = keras.layers.Rescaling(_RGB_SCALE, _RGB_OFFSET, name="rgb")(first)
        streams.append(("rgb_stem", rgb))
    if config.modality in ("residual", "both"):
        residual = ResidualFrames(config.step, name="residual_frames")(frames)
        streams.append(("residual_stem", keras.layers.Rescaling(_RESIDUAL_SCALE, name="residual")(residual)))
    filters = config.width * 2 // len(streams)
    stems = [Stem(filters, config.variant, config.norm, name=name)(x) for name, x in streams]
    return keras.layers.Concatenate(name="streams")(stems) if len(stems) > 1 else stems[0]

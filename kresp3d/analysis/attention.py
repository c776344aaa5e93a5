"""How the channel attention weighs appearance, motion and feature residual."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from kresp3d.layers import Bottleneck, Pseudo3D
from kresp3d.models.inference_network import inference_network

#: Block, such as `res3_1` -> part of its module, `appearance`, `motion` or `feature_residual` -> mask of its channels.
Gates = dict[str, dict[str, npt.NDArray[np.float32]]]


class AttentionGates:
    """Reads the masks `M` of a network's channel attention (paper, Sec. 2.2), split into the module's three parts.

    `f * M + f` leaves the module, so a channel with a mask of 0 passes as it is, and one with a mask of 1 is doubled.
    All is computed in float32 on the network's inference form, whatever its precision was.

    Args:
        network: What `build_model` or `load_network` gives.

    Attributes:
        blocks: Names of the blocks that have attention; empty where the network has none, as `full3d`.
    """

    def __init__(self, network: keras.Model) -> None:
        whole = inference_network(network)
        blocks = [
            block
            for block in whole.layers
            if isinstance(block, Bottleneck)
            and isinstance(block.middle, Pseudo3D)
            and block.middle.attention is not None
        ]
        self.blocks = tuple(block.name for block in blocks)
        self._shape = tuple(whole.input["frames"].shape[1:])
        # What enters each block, from which its mask is computed once more. The output stands for networks without.
        entering = keras.Model(whole.input, [*(block.input for block in blocks), whole.output])

        def masks(frames: Any) -> Any:
            *inputs, _ = entering({"frames": frames}, training=False)
            return [_masks(block, x) for block, x in zip(blocks, inputs, strict=True)]

        signature = [tf.TensorSpec([None, *self._shape], tf.uint8)]
        self._masks = tf.function(masks, input_signature=signature, autograph=False)

    def __call__(self, frames: npt.NDArray[np.uint8]) -> Gates:
        """The masks for some clips.

        Args:
            frames: uint8 `[B, T + s, S, S, 3]`.

        Returns:
            For each block and each of its parts float32 `[B, T', C]` in (0, 1), where `T'` is 1, or `T` with
            `attention_pool: space`, and `C` the part's channels. A part that the network lacks is missing; without
            attention there are no blocks.

        Raises:
            ValueError: If the frames are of another shape or type.
        """
        if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[1:] != self._shape:
            raise ValueError(
                f"AttentionGates: expected frames uint8 [B, {', '.join(map(str, self._shape))}], "
                f"received {frames.dtype} {list(frames.shape)}"
            )
        if not self.blocks:
            return {}
        found = self._masks(tf.constant(frames))
        return {
            name: {part: mask.numpy() for part, mask in masks.items()}
            for name, masks in zip(self.blocks, found, strict=True)
        }


def _masks(block: Any, inputs: Any) -> dict[str, Any]:
    """Mask `[B, T', C]` of each part of a block's module, where `inputs` enter the block."""
    module = block.middle
    branches = module.branches(block.reduce(inputs, training=False), training=False)
    mask = module.attention.mask(ops.concatenate(list(branches.values()), axis=-1))[:, :, 0, 0]
    ends = np.cumsum([branch.shape[-1] for branch in branches.values()])
    return dict(zip(branches, ops.split(mask, ends[:-1].tolist(), axis=-1), strict=True))


@dataclass(frozen=True, slots=True)
class Weight:
    """The masks of a stage's channels in one part: their mean and standard deviation."""

    mean: float
    spread: float


def stage_weights(gates: Gates) -> dict[str, dict[str, Weight]]:
    """Mean and spread of the masks for each stage, such as `res3`, and part, over clips, times, blocks and channels.

    Args:
        gates: What `AttentionGates` gives.

    Returns:
        Stage -> part -> `Weight`; empty without attention.
    """
    values: dict[str, dict[str, list[npt.NDArray[np.float64]]]] = {}
    for block, parts in gates.items():
        stage = values.setdefault(re.sub(r"_\d+$", "", block), {})
        for part, mask in parts.items():
            # Blocks of a stage may differ in channels.
            stage.setdefault(part, []).append(mask.astype(np.float64).ravel())
    return {
        stage: {part: _weight(np.concatenate(masks)) for part, masks in parts.items()}
        for stage, parts in values.items()
    }


def _weight(masks: npt.NDArray[Any]) -> Weight:
    return Weight(float(masks.mean()), float(masks.std()))

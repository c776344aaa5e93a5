"""How the channel attention weighs appearance, motion and feature residual."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kresp3d.nn.layers import ChannelAttention
from kresp3d.nn.transforms import inference_form
from kresp3d.nn.transforms.graph import producer

#: Block, such as `res3_1` -> part of its module, `appearance`, `motion` or `feature_residual` -> mask of its channels.
Gates = dict[str, dict[str, npt.NDArray[np.float32]]]


class AttentionGates:
    """Reads the masks `M` of a network's channel attention (paper, Sec. 2.2), split into the module's three parts.

    `f * M + f` leaves the module, so a channel with a mask of 0 passes as it is, and one with a mask of 1 is doubled.
    All is computed in float32 on the network's inference form, whatever its precision was.

    Args:
        network: A trained network.

    Attributes:
        blocks: Names of the blocks that have attention; empty where the network has none, as `full3d`.
    """

    def __init__(self, network: keras.Model) -> None:
        whole = inference_form(network)
        attentions = [layer for layer in whole.layers if isinstance(layer, ChannelAttention)]
        self.blocks = tuple(layer.name.removesuffix("_attention") for layer in attentions)
        self._parts = [_part_channels(layer) for layer in attentions]
        self._shape = tuple(whole.input["frames"].shape[1:])
        # What is concatenated in each module. The output stands for networks without attention.
        inside = keras.Model(whole.input, [*(layer.input for layer in attentions), whole.output])

        def masks(frames: Any) -> Any:
            *concatenated, _ = inside({"frames": frames}, training=False)
            return [layer.mask(f)[:, :, 0, 0] for layer, f in zip(attentions, concatenated, strict=True)]

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
        found: Gates = {}
        for block, parts, mask in zip(self.blocks, self._parts, self._masks(tf.constant(frames)), strict=True):
            ends = np.cumsum(list(parts.values()))[:-1]
            found[block] = dict(zip(parts, np.split(mask.numpy(), ends, axis=-1), strict=True))
        return found


def _part_channels(attention: ChannelAttention) -> dict[str, int]:
    """Channels of each part that a module concatenates before its attention, by name, in their order."""
    block = attention.name.removesuffix("_attention")
    parts = producer(attention.input).input
    return {producer(part).name.removeprefix(f"{block}_"): part.shape[-1] for part in parts}


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

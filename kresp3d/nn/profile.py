"""What a network costs: parameters and multiply-adds of every stage."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

import keras

from kresp3d.nn.layers import ChannelAttention


@dataclass(frozen=True)
class StageCost:
    """One row of the profile.

    `shape` is the stage's output for one clip, without the batch. `macs` are multiply-adds for one clip; a published
    count of FLOPs is usually either this or twice this.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Profile:
    """The stages of a network, and what they cost together."""

    stages: tuple[StageCost, ...]

    @property
    def parameters(self) -> int:
        """All weights, the moving averages of batch norms included."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def macs(self) -> int:
        """Multiply-adds for one clip."""
        return sum(stage.macs for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "stages": [asdict(stage) for stage in self.stages],
            "parameters": self.parameters,
            "macs": self.macs,
            "flops": 2 * self.macs,
        }


def profile(model: keras.Model) -> Profile:
    """Count parameters and multiply-adds, from the shapes of the layers' kernels and outputs.

    Convolutions and dense layers are counted, as is usual; batch norms, activations, the gate's product and residual
    frames are not. Blocks of one stage, such as `res3_1` and `res3_2`, make one row.

    Args:
        model: A built network with one clip's shape known.
    """
    stages: dict[str, StageCost] = {}
    for layer in model.layers:
        name = _stage(layer.name)
        if not layer.weights and name not in stages and name not in _WITHOUT_WEIGHTS:
            continue
        before = stages.get(name, StageCost(name, (), 0, 0))
        stages[name] = StageCost(
            name,
            tuple(layer.output.shape[1:]),
            before.parameters + layer.count_params(),
            before.macs + _macs(layer),
        )
    return Profile(tuple(stages.values()))


#: Rows of what has no weights.
_WITHOUT_WEIGHTS = ("residual_frames", "stem_pool")


def _stage(name: str) -> str:
    """The row that a layer belongs to: its stage, its stem, or itself."""
    found = re.fullmatch(r"(res\d+)_\d+.*|(.+_stem)_.+", name)
    return (found[1] or found[2]) if found else name


def _macs(layer: keras.layers.Layer) -> int:
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    # Every output element is a sum over the kernel's window and its input channels. A mask has one for each channel.
    outputs = layer.mask_shape(layer.output.shape) if isinstance(layer, ChannelAttention) else layer.output.shape
    return math.prod(outputs[1:]) * math.prod(kernel.shape[:-1])

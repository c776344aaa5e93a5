"""What a network costs: parameters and multiply-adds of every stage."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import keras


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
        if not layer.weights and layer.name not in ("residual_frames", "stem_pool"):
            continue
        block = re.fullmatch(r"(res\d+)_\d+", layer.name)
        name = block[1] if block else layer.name
        before = stages.get(name, StageCost(name, (), 0, 0))
        stages[name] = StageCost(
            name,
            tuple(layer.output.shape[1:]),
            before.parameters + layer.count_params(),
            before.macs + sum(_macs(part) for part in _parts(layer)),
        )
    return Profile(tuple(stages.values()))


def _parts(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """The layers inside a layer that have no layers inside themselves."""
    inner = list(layer._flatten_layers(include_self=False, recursive=False))
    if not inner:
        yield layer
    for part in inner:
        yield from _parts(part)


def _macs(layer: keras.layers.Layer) -> int:
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    output = layer.compute_output_shape(layer.get_build_config()["input_shape"])
    # Every output element is a sum over the kernel's window and its input channels.
    return math.prod(output[1:]) * math.prod(kernel.shape[:-1])

"""Slimming: channels that do little are taken out, which leaves a smaller dense network.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", 2017, for the channels of a batch norm
by its scale; the channels that the attention weighs also by how much it lets through of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kresp3d.layers import Bottleneck, ConvNorm, Pseudo3D, Stem

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: Numbers of channels are multiples of it, where there are so many, as convolutions compute several at a time.
MULTIPLE = 4


def slim_network(network: keras.Model, share: float, clips: Iterable[npt.NDArray[np.uint8]]) -> keras.Model:
    """Take out the channels that matter least, of each convolution and of fc1.

    Convolutions whose outputs are added, as those of a stage, keep the same channels. Classes and pictures keep theirs.

    Args:
        network: A trained network with batch norms.
        share: Of the channels of each convolution that is kept, above 0 and at most 1; rounded to a multiple of
            `MULTIPLE` channels.
        clips: Batches of training clips, uint8 `[B, T+s, S, S, 3]`, on which the attention is looked at.

    Returns:
        A network with as many layers and the weights of the channels that are kept.
    """
    passed = _attention(network, clips)
    kept = _Channels(network, share, passed)

    def convert(operation: keras.Operation) -> keras.Operation:
        values = operation.get_config()
        if isinstance(operation, Stem):
            *first, last = (len(kept.outputs[conv]) for conv in operation.convs)
            values |= {"filters": last, "first_filters": first[0] if first else None}
        elif isinstance(operation, Bottleneck):
            middle = [len(kept.outputs[conv]) for conv in _middle(operation)]
            values |= {
                "filters": len(kept.outputs[operation.reduce]),
                "middle_filters": (middle[0], middle[-1]),
                "output_filters": len(kept.outputs[operation.project]),
            }
        elif operation.name == "fc1":
            values["units"] = len(kept.outputs[operation])
        return operation.__class__.from_config(values)

    slim = keras.models.clone_model(network, clone_function=convert)
    for source, target in zip(_parts(network), _parts(slim), strict=True):
        target.set_weights(kept.weights(source))
    return slim


class _Channels:
    """Which channels stay.

    Attributes:
        outputs: Of each convolution with its norm and of fc1: numbers of the channels that stay.
        inputs: Of each of these, of the gates and of fc2: numbers of the channels of its input that stay.
    """

    def __init__(self, network: keras.Model, share: float, passed: dict[keras.layers.Layer, Floats]) -> None:
        self.outputs: dict[keras.layers.Layer, Indices] = {}
        self.inputs: dict[keras.layers.Layer, Indices] = {}
        self._share = share
        layers = {layer.name: layer for layer in network.layers}
        stems = [layer for layer in network.layers if isinstance(layer, Stem)]
        stages = list(_stages([layer for layer in network.layers if isinstance(layer, Bottleneck)]))
        # Where the first block has no convolution in its shortcut, the stems' channels are added to those of its stage.
        added = stages[0][0].shortcut is None
        x = self._stems(stems, _ends(stages[0]) if added else 0.0)
        for number, stage in enumerate(stages):
            common = x if added and number == 0 else self._common(stage, len(x))
            for block in stage:
                self._block(block, x, common, passed)
                x = common
        fc1, fc2 = layers["fc1"], layers["fc2"]
        self.inputs[fc1] = x
        self.outputs[fc1] = self.inputs[fc2] = self._best(np.linalg.norm(fc2.kernel.numpy(), axis=1))
        self.outputs[fc2] = np.arange(fc2.units)

    def _stems(self, stems: list[Stem], scores: Floats | float) -> Indices:
        """Keep channels of the stems, and give those of their concatenation.

        Args:
            stems: One or two.
            scores: How much their channels matter in what they are added to.
        """
        scores = scores + np.zeros(sum(stem.filters for stem in stems))
        found, first = [], 0
        for stem in stems:
            x = np.arange(3)
            for conv in stem.convs:
                self.inputs[conv] = x
                own = _scale(conv)
                if conv is stem.convs[-1]:
                    own = own / own.mean() + scores[first : first + stem.filters]
                x = self.outputs[conv] = self._best(own)
            found.append(first + x)
            first += stem.filters
        return np.concatenate(found)

    def _common(self, stage: list[Bottleneck], inputs: int) -> Indices:
        """The channels that the blocks of a stage put out; `inputs` come in."""
        scores = _ends(stage)
        count = self._count(len(scores))
        if stage[0].spatial_stride == 1 and count == inputs:
            # As many as come in would leave no convolution in the first block's shortcut.
            count += MULTIPLE if count + MULTIPLE <= len(scores) else -1
        return self._best(scores, count)

    def _block(self, block: Bottleneck, x: Indices, common: Indices, passed: dict[keras.layers.Layer, Floats]) -> None:
        self.inputs[block.reduce] = x
        inner = self.outputs[block.reduce] = self._best(_scale(block.reduce))
        middle = _middle(block)
        weights = passed.get(block.middle)
        after, first = [], 0
        for conv in middle:
            self.inputs[conv] = inner
            scale = _scale(conv)
            if weights is not None:
                scale = scale * weights[first : first + len(scale)]
            self.outputs[conv] = self._best(scale)
            after.append(first + self.outputs[conv])
            first += len(scale)
        if isinstance(block.middle, Pseudo3D):
            if block.middle.feature_residual is not None:
                after.append(first + inner)
            if block.middle.attention is not None:
                gate = block.middle.attention.gate
                self.inputs[gate] = self.outputs[gate] = np.concatenate(after)
        self.inputs[block.project] = np.concatenate(after)
        self.outputs[block.project] = common
        if block.shortcut is not None:
            self.inputs[block.shortcut], self.outputs[block.shortcut] = x, common

    def _best(self, scores: Floats, count: int | None = None) -> Indices:
        """The channels with the highest scores, in their order; `count` of them, where that is not as usual."""
        return np.sort(np.argsort(-scores, kind="stable")[: count or self._count(len(scores))])

    def _count(self, channels: int) -> int:
        """How many of so many channels stay."""
        return min(channels, max(1, round(channels * self._share / MULTIPLE)) * MULTIPLE)

    def weights(self, layer: keras.layers.Layer) -> list[Any]:
        """The weights of a layer, of the channels that stay."""
        inputs, outputs = self.inputs[layer], self.outputs[layer]
        kernel, *vectors = layer.get_weights()
        return [kernel[..., inputs, :][..., outputs], *(vector[outputs] for vector in vectors)]


def _attention(network: keras.Model, clips: Iterable[npt.NDArray[np.uint8]]) -> dict[keras.layers.Layer, Floats]:
    """What the attention of each module multiplies the channels by, on the mean: 1 to 2."""
    modules = {
        layer.middle: layer.middle.attention
        for layer in network.layers
        if isinstance(layer, Bottleneck) and isinstance(layer.middle, Pseudo3D) and layer.middle.attention is not None
    }
    seen: dict[keras.layers.Layer, list[Floats]] = {module: [] for module in modules}
    blocks = [layer for layer in network.layers if isinstance(layer, Bottleneck)]
    inside = keras.Model(network.input, {block.name: block.input for block in blocks})
    for frames in clips:
        inputs = inside({"frames": frames}, training=False)
        for block in blocks:
            x = inputs[block.name]
            if block.middle in modules:
                parts = block.middle.branches(block.reduce(x, training=False), training=False)
                mask = modules[block.middle].mask(ops.concatenate(list(parts.values()), axis=-1))
                seen[block.middle].append(ops.convert_to_numpy(ops.mean(mask, axis=(0, 1, 2, 3))).astype(np.float64))
    return {module: 1 + np.mean(values, axis=0) for module, values in seen.items() if values}


def _scale(conv: ConvNorm) -> Floats:
    """How large each output of a convolution is, by the scale of its batch norm."""
    assert conv.norm is not None, "the norms are not folded"
    scale: Floats = np.abs(conv.norm.gamma.numpy().astype(np.float64))
    return scale


def _ends(stage: list[Bottleneck]) -> Floats:
    """How much each channel matters that the blocks of a stage put out: all that are added count alike."""
    ends = [conv for block in stage for conv in (block.project, block.shortcut) if conv is not None]
    scores: Floats = np.sum([_scale(conv) / _scale(conv).mean() for conv in ends], axis=0)
    return scores


def _middle(block: Bottleneck) -> list[ConvNorm]:
    """The convolutions between a block's pointwise ones."""
    module = block.middle
    return [module.appearance, module.motion] if isinstance(module, Pseudo3D) else [module]


def _stages(blocks: list[Bottleneck]) -> Iterator[list[Bottleneck]]:
    """Blocks whose outputs are added: each stage begins with a shortcut of its own."""
    stage: list[Bottleneck] = []
    for block in blocks:
        if block.shortcut is not None and stage:
            yield stage
            stage = []
        stage.append(block)
    yield stage


def _parts(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers with weights: convolutions with their norms, gates and dense layers."""
    for layer in network.layers:
        if isinstance(layer, Stem):
            yield from layer.convs
        elif isinstance(layer, Bottleneck):
            yield from (layer.reduce, *_middle(layer), layer.project)
            if isinstance(layer.middle, Pseudo3D) and layer.middle.attention is not None:
                yield layer.middle.attention.gate
            if layer.shortcut is not None:
                yield layer.shortcut
        elif isinstance(layer, keras.layers.Dense):
            yield layer

"""Slimming: channels that do little are taken out, which leaves a smaller dense network.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", 2017, for the channels of a batch norm
by its scale; the channels that the attention weighs also by how much it lets through of them.
"""

from __future__ import annotations

import numbers
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from kresp3d.nn.layers import BatchNorm, ChannelAttention, FactorizedConv
from kresp3d.nn.transforms.graph import copy_of, producer, rewrite

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: Numbers of channels are multiples of it, where there are so many, as convolutions compute several at a time.
MULTIPLE = 4

_CONVOLUTIONS = (FactorizedConv, layers.Conv3D)


def slim(network: keras.Model, fraction: float, clips: Iterable[npt.NDArray[np.uint8]]) -> keras.Model:
    """Take out the channels that matter least, of each convolution and of fc1.

    Convolutions whose outputs are added, as those of a stage, keep the same channels. Classes and pictures keep theirs.

    Args:
        network: A trained network with batch norms.
        fraction: Of the channels of each convolution that is kept, above 0 and at most 1; rounded to a multiple of
            `MULTIPLE` channels.
        clips: Batches of training clips, uint8 `[B, T+s, S, S, 3]`, on which the attention is looked at.

    Returns:
        A functional model with as many layers and the weights of the channels that are kept.

    Raises:
        ValueError: If `fraction` is out of range, or a convolution has no batch norm after it, as in a folded network.
    """
    is_number = isinstance(fraction, numbers.Real) and not isinstance(fraction, bool)
    if not is_number or not 0 < fraction <= 1:
        raise ValueError(f"slim: fraction must be a number above 0 and at most 1, received {fraction!r}")
    for layer in network.layers:
        if isinstance(layer, _CONVOLUTIONS) and not isinstance(_following(network, layer), BatchNorm):
            raise ValueError(
                f"slim: expected a batch norm after each convolution, received {network.name}, where {layer.name} has "
                "none; slim a network before it is folded"
            )
    channels = _Channels(network)
    kept = channels.best(fraction, channels.scores(_masks(network, clips)))

    def visit(operation: keras.Operation, *arguments: Any, **options: Any) -> Any:
        if not isinstance(operation, layers.Layer) or not operation.weights:
            return copy_of(operation)(*arguments, **options)
        inputs, outputs = (np.flatnonzero(kept[ids]) for ids in channels.of[id(operation)])
        counts = {
            **({"filters": len(outputs)} if "filters" in operation.get_config() else {}),
            **({"units": len(outputs)} if isinstance(operation, layers.Dense) else {}),
        }
        new = copy_of(operation, **counts)
        y = new(*arguments, **options)
        new.set_weights([_part(weights, inputs, outputs) for weights in operation.get_weights()])
        return y

    return rewrite(network, visit)


def _part(weights: npt.NDArray[Any], inputs: Indices, outputs: Indices) -> npt.NDArray[Any]:
    """The weights of some inputs and outputs: of a kernel `[..., inputs, outputs]`, or of a vector `[outputs]`."""
    part: npt.NDArray[Any] = weights[outputs] if weights.ndim == 1 else weights[..., inputs, :][..., outputs]
    return part


class _Channels:
    """The channels of all tensors of a network, each with a number; channels that are added have the same one.

    Attributes:
        of: id of each layer -> numbers of the channels of its input, and of those of its output.
    """

    def __init__(self, network: keras.Model) -> None:
        self._network = network
        self._same: list[int] = []
        (frames,) = keras.tree.flatten(network.input)
        tensors = {id(frames): self._new(frames.shape[-1])}
        found: dict[int, tuple[Indices, Indices]] = {}
        for operation in network.operations:
            if isinstance(operation, layers.InputLayer):
                continue
            node = operation._inbound_nodes[0]
            inputs = [tensors[id(tensor)] for tensor in node.input_tensors]
            if isinstance(operation, (*_CONVOLUTIONS, layers.Dense)):
                outputs = self._new(operation.output.shape[-1])
            elif isinstance(operation, layers.Concatenate):
                outputs = np.concatenate(inputs)
            else:
                outputs = inputs[0]
                for other in inputs[1:]:
                    self._unite(outputs, other)
            tensors[id(operation.output)] = outputs
            found[id(operation)] = (np.concatenate(inputs), outputs)
        roots = np.array([self._root(number) for number in range(len(self._same))])
        self.of = {key: (roots[inputs], roots[outputs]) for key, (inputs, outputs) in found.items()}
        # Neither pictures nor classes lose any.
        self._fixed = roots[np.concatenate([tensors[id(frames)], tensors[id(network.output)]])]

    def _new(self, count: int) -> Indices:
        numbers = np.arange(len(self._same), len(self._same) + count)
        self._same.extend(numbers.tolist())
        return numbers

    def _root(self, number: int) -> int:
        while self._same[number] != number:
            number = self._same[number]
        return number

    def _unite(self, some: Indices, others: Indices) -> None:
        for one, other in zip(some.tolist(), others.tolist(), strict=True):
            self._same[self._root(other)] = self._root(one)

    def _convolutions(self) -> list[keras.layers.Layer]:
        """The layers whose outputs are chosen from: convolutions, and the dense layers but the last."""
        kinds = (*_CONVOLUTIONS, layers.Dense)
        return [x for x in self._network.layers if isinstance(x, kinds) and x is not producer(self._network.output)]

    def scores(self, masks: dict[int, Floats]) -> Floats:
        """How much each channel matters, by number.

        Args:
            masks: id of each attention layer -> mean of its mask, `[channels]`.
        """
        passed: dict[int, float] = defaultdict(float)
        for key, mask in masks.items():
            # f * M + f; a motion feature counts for its feature residual too.
            for number, factor in zip(self.of[key][0].tolist(), (1 + mask).tolist(), strict=True):
                passed[number] += factor
        scores = np.zeros(len(self._same))
        for layer in self._convolutions():
            numbers = self.of[id(layer)][1]
            size = self._size_of_outputs(layer) * [passed.get(number, 1.0) for number in numbers.tolist()]
            # All that are added count alike.
            scores[numbers] += size / size.mean()
        return scores

    def _size_of_outputs(self, layer: keras.layers.Layer) -> Floats:
        """How large each output of a layer is: by the scale of its batch norm or, of fc1, by what fc2 makes of it."""
        following = _following(self._network, layer)
        if isinstance(following, BatchNorm):
            if following.gamma is None:
                return np.ones(layer.output.shape[-1])
            size: Floats = np.abs(ops.convert_to_numpy(following.gamma).astype(np.float64))
            return size
        return np.linalg.norm(ops.convert_to_numpy(following.kernel).astype(np.float64), axis=1)

    def best(self, fraction: float, scores: Floats) -> npt.NDArray[np.bool_]:
        """Whether each channel stays, by number: of each convolution those with the highest scores."""
        kept = np.zeros(len(scores), bool)
        decided = np.zeros(len(scores), bool)
        kept[self._fixed] = decided[self._fixed] = True
        for layer in self._convolutions():
            numbers = self.of[id(layer)][1]
            open_ = numbers[~decided[numbers]]
            count = max(1, round(len(open_) * fraction / MULTIPLE)) * MULTIPLE
            kept[open_[np.argsort(-scores[open_], kind="stable")[:count]]] = True
            decided[numbers] = True
        return kept


def _following(network: keras.Model, layer: keras.layers.Layer) -> Any:
    """The next layer of a network with weights; `None` where there is none."""
    own = {id(operation) for operation in network.operations}
    waiting = deque([layer])
    while waiting:
        for node in waiting.popleft()._outbound_nodes:
            # Others, such as a cast that was only traced, or a layer of another network, lead nowhere.
            if id(node.operation) in own:
                if getattr(node.operation, "weights", ()):
                    return node.operation
                waiting.append(node.operation)
    return None


def _masks(network: keras.Model, clips: Iterable[npt.NDArray[np.uint8]]) -> dict[int, Floats]:
    """Mean of the mask of each attention layer over clips, by id: `[channels]` in (0, 1)."""
    attentions = [layer for layer in network.layers if isinstance(layer, ChannelAttention)]
    if not attentions:
        return {}
    inputs = keras.Model(network.input, {layer.name: layer.input for layer in attentions})
    seen: dict[int, list[Floats]] = {id(layer): [] for layer in attentions}
    for frames in clips:
        features = inputs({"frames": frames}, training=False)
        for layer in attentions:
            mask = ops.mean(layer.mask(features[layer.name]), axis=(0, 1, 2, 3))
            seen[id(layer)].append(ops.convert_to_numpy(ops.cast(mask, "float32")).astype(np.float64))
    return {key: np.mean(values, axis=0) for key, values in seen.items() if values}

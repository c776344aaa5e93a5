"""Folding batch norms into the convolutions before them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kresp3d.nn.layers import BatchNorm, FactorizedConv
from kresp3d.nn.transforms.graph import Copies, Visit, copy_of, nodes_of, producer, rewrite


def fold(network: keras.Model, *, visit: Visit | None = None, inputs: Any = None, **changes: Any) -> keras.Model:
    """Fold the batch norms of a network, and the ReLUs after them, into the convolutions before them.

    `gamma * (w * x - mean) / sqrt(variance + epsilon) + beta` is a convolution with the kernel `w * scale` and the bias
    `beta - mean * scale`, where `scale = gamma / sqrt(variance + epsilon)`. A bias of the convolution is scaled, too.

    A batch norm is folded if it normalises the channels of a `FactorizedConv` or `keras.layers.Conv3D` that has no
    activation, is called once and is used by nothing else. Any other one is copied as it is.

    Args:
        network: A functional model.
        visit: Makes the rest of the network; by default copies of it. See `kresp3d.nn.transforms.graph.rewrite`.
        inputs: See `rewrite`.
        changes: Entries of the convolutions' configuration that differ, such as `dtype`.

    Returns:
        A functional model with weights of its own, which computes what `network` does with `training=False`.
    """
    visit = visit or Copies()
    norms = _foldable(network)
    folded = {id(norm) for norm in norms.values()}

    def fold_or_visit(operation: keras.Operation, *arguments: Any, **options: Any) -> Any:
        if id(operation) in norms:
            return _call_folded(operation, norms[id(operation)], arguments[0], changes)
        if id(operation) in folded:
            return arguments[0]
        return visit(operation, *arguments, **options)

    return rewrite(network, fold_or_visit, inputs=inputs)


def _foldable(network: keras.Model) -> dict[int, BatchNorm]:
    """Return the batch norms that can be folded, by the id of the convolution that each goes into."""
    nodes = nodes_of(network)
    calls = Counter(id(node.operation) for node in nodes)
    uses = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    uses.update(id(tensor) for tensor in network.outputs)
    found = {}
    for node in nodes:
        norm = node.operation
        if not isinstance(norm, BatchNorm) or calls[id(norm)] > 1 or _trains_always(node):
            continue
        (tensor,) = node.input_tensors
        conv = producer(tensor)
        is_alone = calls[id(conv)] == 1 and uses[id(tensor)] == 1
        if is_alone and _is_plain(conv) and norm.axis in (-1, len(tensor.shape) - 1):
            found[id(conv)] = norm
    return found


def _trains_always(node: Any) -> bool:
    """Return whether a batch norm was told to normalise by the batch's statistics in any case."""
    return bool(node.arguments.args[1:] or node.arguments.kwargs.get("training"))


def _is_plain(conv: keras.Operation) -> bool:
    """Return whether a layer is a convolution alone, with its channels last and no weights but kernel and bias."""
    # Of the very class: others may do more in `call`.
    if type(conv) not in (FactorizedConv, layers.Conv3D) or conv.activation is not keras.activations.linear:
        return False
    return getattr(conv, "data_format", "channels_last") == "channels_last" and len(conv.weights) == 1 + conv.use_bias


def _call_folded(conv: keras.layers.Layer, norm: BatchNorm, x: Any, changes: dict[str, Any]) -> Any:
    new = copy_of(conv, use_bias=True, activation="relu" if norm.relu else None, **changes)
    outputs = new(x)
    gamma, beta, bias = _values(norm.gamma, 1.0), _values(norm.beta, 0.0), _values(conv.bias, 0.0)
    mean, variance = _values(norm.moving_mean), _values(norm.moving_variance)
    scale = gamma / np.sqrt(variance + norm.epsilon)
    kernel = (_values(conv.kernel) * scale).astype(np.float32)
    new.set_weights([kernel, np.broadcast_to((bias - mean) * scale + beta, kernel.shape[-1:]).astype(np.float32)])
    return outputs


def _values(variable: Any, default: float = 0.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the values of a weight, or of one that a layer does without."""
    return np.asarray(default if variable is None else ops.convert_to_numpy(variable), np.float64)

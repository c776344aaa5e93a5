"""Folding batch norms into the convolutions before them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kresp3d.nn.layers import BatchNorm
from kresp3d.nn.transforms.graph import Copies, Visit, copy_of, producer, rewrite


def fold(network: keras.Model, *, visit: Visit | None = None, inputs: Any = None, **changes: Any) -> keras.Model:
    """Fold the batch norms of a network, and the ReLUs after them, into the convolutions before them.

    `gamma * (w * x - mean) / sqrt(variance + epsilon) + beta` is a convolution with the kernel `w * scale` and the bias
    `beta - mean * scale`, where `scale = gamma / sqrt(variance + epsilon)`.

    Args:
        network: A network whose every `BatchNorm` follows a convolution.
        visit: Makes the rest of the network; by default copies of it. See `kresp3d.nn.transforms.graph.rewrite`.
        inputs: See `rewrite`.
        changes: Entries of the convolutions' configuration that differ, such as `dtype`.

    Returns:
        A functional model with weights of its own, which computes what `network` does with `training=False`.
    """
    visit = visit or Copies()
    norms = {id(producer(layer.input)): layer for layer in network.layers if isinstance(layer, BatchNorm)}

    def fold_or_visit(operation: keras.Operation, *arguments: Any, **options: Any) -> Any:
        if id(operation) in norms:
            return _call_folded(operation, norms[id(operation)], arguments[0], changes)
        if isinstance(operation, BatchNorm):
            return arguments[0]
        return visit(operation, *arguments, **options)

    return rewrite(network, fold_or_visit, inputs=inputs)


def _call_folded(conv: keras.layers.Layer, norm: BatchNorm, x: Any, changes: dict[str, Any]) -> Any:
    new = copy_of(conv, use_bias=True, activation="relu" if norm.relu else None, **changes)
    outputs = new(x)
    gamma, beta, mean, variance = (np.asarray(v, np.float64) for v in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    (kernel,) = conv.get_weights()
    new.set_weights([(kernel * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)])
    return outputs

"""Gradient checkpointing: blocks that are computed again for their gradients."""

from __future__ import annotations

from typing import Any

import keras

from kresp3d.nn.layers import BatchNorm
from kresp3d.nn.transforms.graph import block_names, rewrite


def recompute_blocks(network: keras.Model) -> keras.Model:
    """Turn a network into one that keeps the inputs of its bottlenecks and computes the rest again for the gradients.

    Half the memory of a clip in training, and a third more time (Chen et al., "Training Deep Nets with Sublinear Memory
    Cost", 2016). On the TensorFlow backend.

    The result is for training alone: it can neither be saved nor transformed again. It trains the layers of `network`,
    which can be both.

    Args:
        network: A network with bottlenecks.

    Returns:
        A functional model on the layers of `network`, with the same outputs, gradients and moving statistics.

    Raises:
        ValueError: If the network has no bottlenecks.
    """
    names = block_names(network)
    if not names:
        raise ValueError(
            f"recompute_blocks: expected a network with bottlenecks, such as P3DResNet, received {network.name}, which "
            "has none, or has them recomputed already"
        )
    edges = [network.get_layer(f"{names[0]}_reduce").input, *(network.get_layer(name).output for name in names)]
    x = edges[0]
    for name, begin, end in zip(names, edges, edges[1:], strict=False):
        x = _RecomputedBlock(keras.Model(begin, end), name=f"{name}_recomputed")(x)
    return keras.Model(network.input, keras.Model(edges[-1], network.output)(x), name=network.name)


class _RecomputedBlock(keras.layers.Layer):
    """A part of a network, computed again for its gradient.

    Args:
        block: From one tensor to one.
    """

    def __init__(self, block: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block = block
        self._again = rewrite(block, _call_again)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training:
            return self.block(inputs, training=training)
        passes = iter([self.block])

        def compute(x: Any) -> Any:
            return next(passes, self._again)(x, training=True)

        return keras.remat(compute)(inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return self.block.compute_output_shape(input_shape)


def _call_again(operation: keras.Operation, *arguments: Any, **options: Any) -> Any:
    # The moving statistics have seen this batch.
    options |= {"update_statistics": False} if isinstance(operation, BatchNorm) else {}
    return operation(*arguments, **options)

"""Walking through a network's graph, and making another one on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras

#: What makes the tensor that stands for an operation's: of the operation, its input tensors and its other arguments.
Visit = Callable[..., Any]

#: Names of the bottlenecks, which are those of their last operations.
BLOCK = re.compile(r"res\d+_\d+")


def rewrite(network: keras.Model, visit: Visit, *, inputs: Any = None) -> keras.Model:
    """Make another network on the way through one.

    Args:
        network: A functional model.
        visit: Called as `visit(operation, *arguments, **options)` for every operation, in the order of the graph, with
            the new network's tensors in place of those that the operation took. Returns the new network's tensors.
        inputs: The new network's inputs, in the structure of the other's; by default of the same shapes and types.

    Returns:
        A functional model. It shares layers with `network` where `visit` calls these and not a `copy_of` them.
    """
    # A network of a class of its own would not be cloned with a function.
    plain = keras.Model(network.input, network.output, name=network.name)
    if inputs is None:
        inputs = keras.tree.map_structure(lambda x: keras.Input(x.shape[1:], dtype=x.dtype, name=x.name), network.input)
    return keras.models.clone_model(plain, inputs, clone_function=lambda operation: operation, call_function=visit)


def copy_of(operation: keras.Operation, **changes: Any) -> keras.Operation:
    """Return a new operation with the configuration of another, without its weights.

    Args:
        operation: A layer, or an operation that is none.
        changes: Entries of the configuration that differ.
    """
    return operation.__class__.from_config({**operation.get_config(), **changes})


class Copies:
    """Visits operations by copies of them, with their weights; see `rewrite`. A layer called twice has one copy.

    Args:
        dtype: Policy of all copies; by default each has that of its layer.
    """

    def __init__(self, dtype: str | None = None) -> None:
        self._changes = {} if dtype is None else {"dtype": dtype}
        self._made: dict[int, keras.Operation] = {}

    def __call__(self, operation: keras.Operation, *arguments: Any, **options: Any) -> Any:
        """Call the copy of an operation."""
        if id(operation) in self._made:
            return self._made[id(operation)](*arguments, **options)
        changes = self._changes if isinstance(operation, keras.layers.Layer) else {}
        new = self._made[id(operation)] = copy_of(operation, **changes)
        return with_weights(new, operation, *arguments, **options)


def with_weights(new: keras.Operation, source: keras.Operation, *arguments: Any, **options: Any) -> Any:
    """Call a new operation and give it the weights of another."""
    outputs = new(*arguments, **options)
    if isinstance(new, keras.layers.Layer) and new.weights:
        new.set_weights(source.get_weights())
    return outputs


def nodes_of(network: keras.Model) -> list[Any]:
    """Return the calls of operations that a network consists of; their layers may have others, outside of it."""
    return [node for nodes in network._nodes_by_depth.values() for node in nodes]


def producer(tensor: Any) -> keras.Operation:
    """Return the operation that a tensor of a graph comes out of."""
    return tensor._keras_history.operation


def block_names(network: keras.Model) -> list[str]:
    """Return the names of a network's bottlenecks, such as `res3_1`, in their order."""
    return [layer.name for layer in network.layers if BLOCK.fullmatch(layer.name)]

"""The graph of a network, for TensorBoard."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def network_graph(network: keras.Model) -> bytes:
    """The graph of a network in inference, as a serialised `GraphDef` with the shapes of its tensors."""
    shape = network.input["frames"].shape[1:]
    forward = tf.function(lambda frames: network({"frames": frames}, training=False), autograph=False)
    function = forward.get_concrete_function(tf.TensorSpec([None, *shape], tf.uint8, name="frames"))
    graph_def = function.graph.as_graph_def(add_shapes=True)
    _undo_numbering(graph_def)
    graph: bytes = graph_def.SerializeToString()
    return graph


def _undo_numbering(graph_def: Any) -> None:
    """Give layers their own names: Keras opens the scope of each twice, and the second one is called `NAME_1`."""
    paths = [node.name.split("/") for node in graph_def.node]
    taken = {"/".join(path[:end]) for path in paths for end in range(1, len(path) + 1)}
    plain = {"/".join(path): "/".join(_plain_path(path, taken)) for path in paths}
    for node in graph_def.node:
        node.name = plain[node.name]
        for place, source in enumerate(node.input):
            # `^` marks an input that is only waited for, `:1` a second output.
            name = source.removeprefix("^").partition(":")[0]
            node.input[place] = source.replace(name, plain[name], 1)


def _plain_path(path: list[str], taken: set[str]) -> list[str]:
    """The scopes of an operation without the number, unless another operation or scope has that name."""
    scopes = [
        scope if "/".join([*path[:depth], scope.removesuffix("_1")]) in taken else scope.removesuffix("_1")
        for depth, scope in enumerate(path[:-1])
    ]
    return [*scopes, path[-1]]

"""What a SavedModel of strangers may do.

A SavedModel is a program for TensorFlow, whose operations can also read and write files, open connections and call
Python. A network computes and needs none of these; one that has them is refused before TensorFlow loads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from kresp3d.errors import KrespError

#: Operations with a state that a network needs: its variables, conditions and calls, and checks of its input.
STATEFUL = frozenset(
    [
        *("Assert", "If", "While", "Case", "StatefulPartitionedCall", "Placeholder"),
        *("VarHandleOp", "VarIsInitializedOp", "ReadVariableOp", "AssignVariableOp", "DisableCopyOnRead"),
        *("RestoreV2",),
    ]
)
#: Those without one that reach outside all the same.
OUTSIDE = frozenset(["ReadFile", "MatchingFiles", "PyFuncStateless"])
#: They write files. Every SavedModel has them, in a function that saves it, which is never called here.
SAVING = frozenset(["SaveV2", "MergeV2Checkpoints"])
_SAVER = "__inference__traced_save"


def check_file(path: Path) -> None:
    """Make sure that a `saved_model.pb` holds a network and nothing else.

    Raises:
        KrespError: If it is damaged, or has an operation that reaches outside the network.
    """
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise KrespError(f"{path} cannot be loaded as a SavedModel ({reason}); export the run again") from error
    for meta in model.meta_graphs:
        refuse(_operations(meta.graph_def, savers=True), path)


def check_function(function: Any, path: Path) -> None:
    """Make sure that a loaded function saves nothing, either.

    Args:
        function: A concrete function.
        path: Where it comes from, for messages.

    Raises:
        KrespError: If it has an operation that reaches outside the network.
    """
    refuse(_operations(function.graph.as_graph_def(), savers=False), path)


def refuse(operations: Iterable[str], path: Path) -> None:
    """Raise `KrespError` if one of the operations reaches outside the network."""
    for name in sorted(set(operations)):
        definition = op_def_registry.get(name)
        if definition is None or (definition.is_stateful and name not in STATEFUL) or name in OUTSIDE | SAVING:
            raise KrespError(
                f"{path} has TensorFlow's operation {name}, which no network of kresp3d has: it may read or write "
                "files, or run other code; do not load it unless you know who made it"
            )


def _operations(graph: Any, *, savers: bool) -> Iterator[str]:
    """The operations of a graph and its functions, but for what saves in those that are for it, where they may be."""
    yield from (node.op for node in graph.node)
    for function in graph.library.function:
        saves = savers and function.signature.name.startswith(_SAVER)
        yield from (node.op for node in function.node_def if not (saves and node.op in SAVING))

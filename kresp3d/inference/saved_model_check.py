"""What a SavedModel of strangers may do.

A SavedModel is a program for TensorFlow, whose operations can also read and write files, open connections and call
Python, some of them without saying that they have an effect. So the operations that kresp3d's own exports have are
listed, and one with any other is refused before TensorFlow loads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from kresp3d.system.errors import KrespError

#: What networks compute with, what cuts clips out of videos, and what holds variables and calls functions.
ALLOWED = frozenset(
    [
        *("Abs", "AddV2", "AvgPool", "BiasAdd", "Conv2D", "Conv3D", "MatMul", "MaxPool", "Mean", "Mul", "Relu"),
        *("Sigmoid", "Softmax", "Sub", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars"),
        *("Cast", "ConcatV2", "Const", "ExpandDims", "Identity", "NoOp", "Pack", "Pad", "Placeholder", "Reshape"),
        *("Shape", "Size", "Slice", "Squeeze", "StridedSlice", "Tile", "Transpose"),
        *("All", "Assert", "EnsureShape", "Equal", "FloorDiv", "FloorMod", "GatherV2", "Greater", "Less", "LinSpace"),
        *("LogicalAnd", "Maximum", "Minimum", "Prod", "Range", "RealDiv", "Round", "Sum", "Unique", "UniqueWithCounts"),
        *("DecodeAndCropJpeg", "ExtractJpegShape", "ResizeArea", "ResizeBilinear"),
        *("If", "StatefulPartitionedCall", "StatelessIf", "StatelessWhile", "While"),
        *("TensorListFromTensor", "TensorListGetItem", "TensorListReserve", "TensorListSetItem", "TensorListStack"),
        *("AssignVariableOp", "ReadVariableOp", "VarHandleOp", "VarIsInitializedOp"),
    ]
)
#: Every SavedModel has functions that save and restore it. TensorFlow's loader calls neither, nor may another function.
SAVERS = ("__inference__traced_save", "__inference__traced_restore")
SAVING = frozenset(
    [
        *("DisableCopyOnRead", "MergeV2Checkpoints", "RestoreV2", "SaveV2", "Select", "ShardedFilename"),
        *("StaticRegexFullMatch", "StringJoin"),
    ]
)
#: Objects that a network consists of. A resource is made by running a function when it is loaded.
OBJECTS = frozenset(["asset", "bare_concrete_function", "constant", "function", "user_object", "variable"])


def check_file(path: Path) -> None:
    """Make sure that a `saved_model.pb` holds a network and nothing else.

    Raises:
        KrespError: If it is damaged, or has something in it that may reach outside the network.
    """
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise KrespError(f"{path} cannot be loaded as a SavedModel ({reason}); export the run again") from error
    # Others are for TensorFlow 1, where the whole graph is run.
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].HasField("object_graph_def"):
        raise KrespError(f"{path} cannot be loaded as a SavedModel (it is not of TensorFlow 2); export the run again")
    [meta] = model.meta_graphs
    for node in meta.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        if kind not in OBJECTS:
            _refuse(path, f"an object of the kind {kind}")
    _check_operations(_operations(meta.graph_def, savers=True), path)


def check_function(function: Any, path: Path) -> None:
    """Make sure that a loaded function saves nothing, either.

    Args:
        function: A concrete function.
        path: Where it comes from, for messages.

    Raises:
        KrespError: If it has an operation that may reach outside the network.
    """
    _check_operations(_operations(function.graph.as_graph_def(), savers=False), path)


def _check_operations(operations: Iterable[str], path: Path) -> None:
    for name in sorted(set(operations)):
        if name not in ALLOWED:
            _refuse(path, f"TensorFlow's operation {name}")


def _refuse(path: Path, what: str) -> None:
    raise KrespError(
        f"{path} has {what}, which no network of kresp3d has: it may read or write files, or run other code; do not "
        "load it unless you know who made it"
    )


def _operations(graph: Any, *, savers: bool) -> Iterator[str]:
    """The operations of a graph and its functions, but for what saves in those that are for it, where they may be."""
    yield from (node.op for node in graph.node)
    for function in graph.library.function:
        saves = savers and function.signature.name.startswith(SAVERS)
        yield from (node.op for node in function.node_def if not (saves and node.op in SAVING))

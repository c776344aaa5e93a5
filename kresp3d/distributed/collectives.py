"""What the workers of a cluster tell each other beside gradients. All of them have to ask the same at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kresp3d.distributed.cluster import Cluster
from kresp3d.system.errors import UsageError

Array = npt.NDArray[Any]


def from_chief(strategy: tf.distribute.Strategy, cluster: Cluster, arrays: Sequence[Array]) -> list[Array]:
    """What the chief passes, on every worker.

    Args:
        strategy: That of the cluster.
        cluster: Which worker this is.
        arrays: Numbers, on all workers of the same shapes and types.
    """
    # Only some types are added up over the network, none of which rounds what it is given here.
    wide = [array.astype(np.float64 if array.dtype.kind == "f" else np.int64) for array in arrays]
    own = wide if cluster.is_chief else [np.zeros_like(array) for array in wide]
    found = _sum(strategy, len(cluster.addresses), own)
    return [value.astype(array.dtype) for value, array in zip(found, arrays, strict=True)]


def text_from_chief(strategy: tf.distribute.Strategy, cluster: Cluster, text: str) -> str:
    """What the chief passes, on every worker."""
    content = np.frombuffer(text.encode(), np.uint8)
    [length] = from_chief(strategy, cluster, [np.array(len(content))])
    own = content if cluster.is_chief else np.zeros(int(length), np.uint8)
    [received] = from_chief(strategy, cluster, [own])
    return received.tobytes().decode()


def variables_from_chief(
    strategy: tf.distribute.Strategy, cluster: Cluster, variables: Sequence[tf.Variable | keras.Variable]
) -> None:
    """Give variables the values that they have on the chief."""
    values = from_chief(strategy, cluster, [np.asarray(variable.numpy()) for variable in variables])
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def check_agreement(strategy: tf.distribute.Strategy, cluster: Cluster, values: Mapping[str, str]) -> None:
    """Make sure that all workers have the same values.

    Args:
        strategy: That of the cluster.
        cluster: Which worker this is.
        values: By names for the message.

    Raises:
        UsageError: On all workers, if a value differs on one of them.
    """
    digests = np.array([int.from_bytes(sha256(value.encode()).digest()[:7]) for value in values.values()])
    # Each puts its own into its own row.
    table = np.zeros((len(cluster.addresses), len(digests)), np.int64)
    table[cluster.worker] = digests
    [table] = _sum(strategy, len(cluster.addresses), [table])
    for name, row in zip(values, table.T, strict=True):
        for address, digest in zip(cluster.addresses, row, strict=True):
            if digest != row[0]:
                raise UsageError(
                    f"the worker at {address} has {name} other than the one at {cluster.addresses[0]}; give all hosts "
                    "the same command, kresp3d and videos"
                )


def meet(strategy: tf.distribute.Strategy, cluster: Cluster) -> None:
    """Wait until all workers are here: whoever leaves before the others is taken for one that died.

    The last thing that they do together, so it does not matter if one is gone.
    """
    with suppress(tf.errors.OpError):
        from_chief(strategy, cluster, [np.ones(1)])


def _sum(strategy: tf.distribute.Strategy, workers: int, arrays: Sequence[Array]) -> list[Array]:
    """Each array added up over all workers."""

    def add(*values: tf.Tensor) -> list[tf.Tensor]:
        context = tf.distribute.get_replica_context()
        # Of a worker's replicas the first one alone counts.
        first = context.replica_id_in_sync_group % (context.num_replicas_in_sync // workers) == 0
        counted = [tf.where(first, value, tf.zeros_like(value)) for value in values]
        return [context.all_reduce(tf.distribute.ReduceOp.SUM, value) for value in counted]

    # Arguments, since constants in a graph may take 2 GiB in all.
    function = tf.function(lambda *values: strategy.run(add, args=values), autograph=False)
    # TensorFlow dies of one that is empty.
    full = [place for place, array in enumerate(arrays) if array.size]
    found = list(arrays)
    if full:
        for place, value in zip(full, function(*(tf.constant(arrays[place]) for place in full)), strict=True):
            found[place] = strategy.experimental_local_results(value)[0].numpy()
    return found

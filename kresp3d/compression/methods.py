"""The methods, by the names that `kresp3d compress --method` knows them by."""

from __future__ import annotations

import keras

from kresp3d.compression.clustering import Cluster
from kresp3d.compression.kernels import choose_kernels, kernels
from kresp3d.compression.pruning import KeepZeros, Prune
from kresp3d.compression.quantization import Quantize
from kresp3d.config.schema import CompressConfig


def training_callback(config: CompressConfig, network: keras.Model, steps: int) -> KeepZeros | None:
    """What compresses a network while it is trained; `None` where nothing does.

    Args:
        config: How.
        network: The network that training begins with.
        steps: Steps of the whole training.
    """
    if config.method is None:
        return None
    sparse = [kernel for kernel in kernels(network) if kernel.zeros]
    if config.method in ("prune", "prune-2x4"):
        chosen = choose_kernels(network, config.layers)
        return Prune(chosen, sparse, config, steps, two_of_four=config.method == "prune-2x4")
    if config.method == "cluster":
        return Cluster(choose_kernels(network, config.layers), sparse, config.clusters)
    if config.method == "qat":
        return Quantize(network, sparse)
    return KeepZeros(sparse)

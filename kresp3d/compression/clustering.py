"""Clustering: the weights of a kernel share a few values, so that its file packs well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kresp3d.compression.kernels import Kernel
from kresp3d.compression.pruning import KeepZeros


class Cluster(KeepZeros):
    """Computes with the nearest of a few values in place of each weight, and trains both.

    Han et al., "Deep Compression", 2016, Sec. 3, as tensorflow-model-optimization has it. What was zero stays so.

    Args:
        clustered: Kernels of a network without batch norms, which would take the values apart again.
        sparse: Those of its kernels that were pruned.
        clusters: Different values of each kernel, at the most.
    """

    def __init__(self, clustered: Sequence[Kernel], sparse: Sequence[Kernel], clusters: int) -> None:
        from kresp3d.compression import tfmot_bridge

        super().__init__(sparse)
        names = {kernel.name for kernel in sparse}
        self._clustered = list(clustered)
        firsts = [
            tfmot_bridge.first_centroids(kernel.variable.numpy(), clusters, keep_zero=kernel.name in names)
            for kernel in clustered
        ]
        self._not_zero = [(values != 0).astype(np.float32) for values in firsts]
        self.trained = [keras.Variable(values, name="centroids", dtype="float32") for values in firsts]
        self.variables = [*self.masks, *(variable.value for variable in self.trained)]

    def kernel_values(self) -> list[tuple[keras.Variable, Any]]:
        from kresp3d.compression import tfmot_bridge

        return [
            (kernel.variable, tfmot_bridge.cluster(kernel.variable.value, centroids.value))
            for kernel, centroids in zip(self._clustered, self.trained, strict=True)
        ]

    def zeros(self) -> list[tuple[keras.Variable, Any]]:
        # Of the values, that which stands for the weights that are zero.
        return [*super().zeros(), *zip(self.trained, self._not_zero, strict=True)]

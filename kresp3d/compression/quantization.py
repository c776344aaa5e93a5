"""Quantisation-aware training: a network learns with the rounding errors that its int8 file will have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kresp3d.compression.kernels import Kernel, kernels
from kresp3d.compression.pruning import KeepZeros
from kresp3d.layers.rounding import observing_ranges
from kresp3d.models.inference_network import int8_network


class Quantize(KeepZeros):
    """Computes with kernels that are rounded to int8, and trains those behind them.

    Convolutions are rounded output by output, dense layers as a whole, as LiteRT has them; the gradient passes the
    rounding as if it were not there. Weights that were zero stay so.

    Args:
        network: What `begin_quantization` gave.
        sparse: Its kernels that were pruned.
    """

    def __init__(self, network: keras.Model, sparse: list[Kernel]) -> None:
        super().__init__(sparse)
        self._rounded = kernels(network)

    def kernel_values(self) -> list[tuple[keras.Variable, Any]]:
        """The kernels with which the network computes in place of its own."""
        return [(kernel.variable, rounded(kernel)) for kernel in self._rounded]


def rounded(kernel: Kernel) -> Any:
    """The values of a kernel, rounded to int8."""
    from kresp3d.compression import tfmot_bridge

    return tfmot_bridge.round_kernel(kernel.variable.value, per_channel=not kernel.is_dense)


def begin_quantization(network: keras.Model, clips: Iterable[npt.NDArray[np.uint8]]) -> keras.Model:
    """What quantisation-aware training begins with: the network with folded batch norms, whose activations are rounded.

    Args:
        network: A trained network.
        clips: Batches of training clips, uint8 `[B, T+s, S, S, 3]`, whose activations give the ranges at first.
    """
    begun = int8_network(network)
    with observing_ranges():
        for frames in clips:
            begun({"frames": frames}, training=False)
    return begun

"""Quantisation-aware training: a network learns with the rounding errors that its int8 file will have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kresp3d.compression.kernels import Kernel, kernels
from kresp3d.compression.pruning import KeepZeros
from kresp3d.compression.rounding import RangeObserver, Rounding
from kresp3d.nn.layers import FactorizedConv
from kresp3d.nn.transforms import round_int8
from kresp3d.nn.transforms.graph import producer


class Quantize(KeepZeros):
    """Computes with kernels rounded to int8 and biases rounded to int32, and trains those behind them.

    Convolutions are rounded output by output, dense layers as a whole, as LiteRT has them; the gradient passes the
    rounding as if it were not there. Weights that were zero stay so.

    Args:
        network: What `begin_quantization` gave.
        sparse: Its kernels that were pruned.
    """

    def __init__(self, network: keras.Model, sparse: list[Kernel]) -> None:
        super().__init__(sparse)
        self._kernels = {id(kernel.variable): kernel for kernel in kernels(network)}
        self._layers = list(layers_with_ranges(network))

    def kernel_values(self) -> list[tuple[keras.Variable, Any]]:
        """The kernels and biases with which the network computes in place of its own."""
        found = []
        for layer in self._layers:
            kernel = rounded(self._kernels[id(layer.kernel)])
            found += [(layer.kernel, kernel), (layer.bias, layer.rounded_bias(kernel))]
        return found


def rounded(kernel: Kernel) -> Any:
    """The values of a kernel, rounded to int8."""
    from kresp3d.compression import tfmot_bridge

    return tfmot_bridge.round_kernel(kernel.variable.value, per_channel=not kernel.is_dense)


@dataclass(frozen=True)
class RangedLayer:
    """A convolution or dense layer, and where its input was rounded."""

    kernel: keras.Variable
    bias: keras.Variable
    rounding: Rounding

    def rounded_bias(self, kernel: Any) -> Any:
        """Return the bias as a multiple of a step of the input times a step of the kernel, `[outputs]`.

        Args:
            kernel: The rounded kernel.
        """
        axes = None if len(kernel.shape) == 2 else tuple(range(len(kernel.shape) - 1))
        step = ops.max(ops.abs(kernel), axis=axes) / 127 * self.rounding.step()
        bias = self.bias.value
        # A channel without weights has no step.
        nearest = ops.where(step > 0, ops.round(bias / ops.where(step > 0, step, 1.0)) * step, bias)
        return bias + ops.stop_gradient(nearest - bias)


def layers_with_ranges(network: keras.Model) -> Iterator[RangedLayer]:
    """Find the layers with kernels of a network that rounds, from its input to its output."""
    for layer in network.layers:
        if isinstance(layer, FactorizedConv | keras.layers.Dense):
            before = producer(layer.input)
            while not isinstance(before, Rounding):
                # A max-pool, a reshape, or dropout, which is none when the network is used.
                before = producer(before.input)
            yield RangedLayer(layer.kernel, layer.bias, before)


def begin_quantization(network: keras.Model, clips: Iterable[npt.NDArray[np.uint8]]) -> keras.Model:
    """Make what quantisation-aware training begins with: the network with folded batch norms and rounded activations.

    Args:
        network: A trained network.
        clips: Batches of training clips, uint8 `[B, T+s, S, S, 3]`, whose activations give the ranges at first.
    """
    observed = round_int8(network, RangeObserver)
    for frames in clips:
        observed({"frames": frames}, training=False)
    begun = round_int8(network, Rounding)
    for layer in begun.layers:
        if isinstance(layer, Rounding):
            layer.set_weights(observed.get_layer(layer.name).get_weights())
    return begun

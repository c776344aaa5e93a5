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
from kresp3d.layers import Bottleneck, RoundedRescaling, Rounding, Stem
from kresp3d.layers.rounding import observing_ranges
from kresp3d.models.inference_network import int8_network


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
    place: str

    def rounded_bias(self, kernel: Any) -> Any:
        """The bias as a multiple of a step of the input times a step of the kernel, `[outputs]`.

        Args:
            kernel: The rounded kernel.
        """
        axes = None if len(kernel.shape) == 2 else tuple(range(len(kernel.shape) - 1))
        step = ops.max(ops.abs(kernel), axis=axes) / 127 * self.rounding.step(self.place)
        bias = self.bias.value
        # A channel without weights has no step.
        nearest = ops.where(step > 0, ops.round(bias / ops.where(step > 0, step, 1.0)) * step, bias)
        return bias + ops.stop_gradient(nearest - bias)


def layers_with_ranges(network: keras.Model) -> Iterator[RangedLayer]:
    """The layers with kernels of a network that rounds, from its input to its output."""
    for layer in network.layers:
        if isinstance(layer, Stem):
            before = _range_before(layer)
            for conv in layer.convs:
                yield RangedLayer(conv.conv.kernel, conv.conv.bias, *before)
                before = (layer.rounding, conv.name)
        elif isinstance(layer, Bottleneck):
            yield from _ranges_inside(layer, _range_before(layer))
        elif isinstance(layer, keras.layers.Dense):
            yield RangedLayer(layer.kernel, layer.bias, *_range_before(layer))


def _ranges_inside(block: Bottleneck, before: tuple[Rounding, str]) -> Iterator[RangedLayer]:
    module = block.middle
    attention = module.attention
    end = (module.rounding if attention is None else attention.rounding, "output")
    inputs = {
        block.reduce: before,
        module.appearance: (block.rounding, "reduce"),
        module.motion: (block.rounding, "reduce"),
        block.project: end,
        block.shortcut: before,
    }
    for conv, place in inputs.items():
        if conv is not None:
            yield RangedLayer(conv.conv.kernel, conv.conv.bias, *place)
    if attention is not None:
        mean = "mean" if attention.pool == "space_time" else "picture_mean"
        yield RangedLayer(attention.gate.kernel, attention.gate.bias, attention.rounding, mean)


def _range_before(layer: keras.layers.Layer) -> tuple[Rounding, str]:
    """Where the input of a network's layer was rounded last."""
    operation = layer.input._keras_history.operation
    while not isinstance(operation, Rounding | RoundedRescaling | Bottleneck):
        # A max-pool, or dropout, which is none when the network is used.
        operation = operation.input._keras_history.operation
    if isinstance(operation, Rounding):
        return operation, "output"
    if isinstance(operation, RoundedRescaling):
        return operation.rounding, "sum" if operation.offset else "product"
    return operation.rounding, "output"


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

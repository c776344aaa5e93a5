"""Taking the systematic part of the rounding error out of an int8 network.

Rounding to int8 does not only add noise: a difference of two noisy values is larger on average than that of the true
ones, and values that are a few steps of the scale round the same way again and again. Such errors are the same in every
clip, and the biases of the layers behind can take them away (Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", 2019, Sec. 4.2, with measured means).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.export.flatbuffer import FlatBuffer, Operator

#: Rounds of correction. A layer's error depends on the corrections before it, so that one round is not enough.
ROUNDS = 4


def correct_biases(model: bytes, reference: bytes, clips: npt.NDArray[np.uint8]) -> bytes:
    """Move the biases of an int8 network so that its mean activations are those of the float32 network.

    Every 2D convolution and fully connected layer without an activation, and with a bias of its own, is corrected
    channel by channel: there the mean moves by exactly what the bias moves.

    Args:
        model: An int8 LiteRT file that takes uint8 frames.
        reference: The float32 LiteRT file of the same network, whose tensors have the same names.
        clips: uint8 `[N, T + s, S, S, 3]`, on which the means are taken.

    Returns:
        The corrected file; nothing but biases differs.
    """
    data = bytearray(model)
    buffer = FlatBuffer(data)
    true = _Runner(reference)
    operators = buffer.operators()
    uses = Counter(buffer.buffer(tensor) for o in operators for tensor in o.inputs if tensor >= 0)
    layers = [
        o
        for o in operators
        # A bias that another layer shares cannot be moved for one of them.
        if o.linear and buffer.name(o.outputs[0]) in true.tensors and uses[buffer.buffer(o.inputs[2])] == 1
    ]
    names = [buffer.name(layer.outputs[0]) for layer in layers]
    expected = true.channel_means(names, clips)
    for _ in range(ROUNDS):
        runner = _Runner(bytes(data))
        means = runner.channel_means(names, clips)
        for layer, name in zip(layers, names, strict=True):
            _shift(buffer, layer, runner, means[name] - expected[name])
    return bytes(data)


def _shift(buffer: FlatBuffer, layer: Operator, runner: _Runner, error: npt.NDArray[np.float64]) -> None:
    bias = layer.inputs[2]
    steps = np.round(error / runner.scales(bias)).astype(np.int64)
    values = buffer.values(bias)
    limits = np.iinfo(np.int32)
    values[:] = np.clip(values - steps, limits.min, limits.max)


class _Runner:
    """A network whose every tensor can be read."""

    def __init__(self, model: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._interpreter = Interpreter(
            model_content=model,
            num_threads=1,
            experimental_preserve_all_tensors=True,
            # XNNPACK keeps what lies between its operators to itself.
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()
        self._details: dict[int, Any] = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}
        self.tensors = {detail["name"]: index for index, detail in self._details.items()}

    def scales(self, tensor: int) -> npt.NDArray[np.float32]:
        """Steps of a quantised tensor: one, or one for each channel."""
        scales: npt.NDArray[np.float32] = self._details[tensor]["quantization_parameters"]["scales"]
        return scales

    def channel_means(self, names: list[str], clips: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float64]]:
        """Mean of each channel of the named tensors over all clips, in real units."""
        [frames] = self._interpreter.get_input_details()
        sums: dict[str, Any] = dict.fromkeys(names, 0.0)
        for clip in clips:
            self._interpreter.set_tensor(frames["index"], clip[None].astype(frames["dtype"]))
            self._interpreter.invoke()
            for name in names:
                values = self._interpreter.get_tensor(self.tensors[name])
                sums[name] += self._real_mean(name, values)
        return {name: total / len(clips) for name, total in sums.items()}

    def _real_mean(self, name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        mean: npt.NDArray[np.float64] = values.reshape(-1, values.shape[-1]).mean(axis=0, dtype=np.float64)
        scale, zero = self._details[self.tensors[name]]["quantization"]
        return (mean - zero) * scale if scale else mean

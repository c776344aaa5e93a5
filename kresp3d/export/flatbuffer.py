"""What stands inside a LiteRT file: its operators and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Operator:
    """One step of the computation."""

    name: str
    """LiteRT's name of a builtin operator, such as `CONV_2D`; the own name of any other."""
    builtin: bool
    """Whether LiteRT itself has the operator."""
    inputs: tuple[int, ...]
    """Numbers of its tensors; -1 where an optional one is left out."""
    outputs: tuple[int, ...]
    linear: bool
    """Whether it is a 2D convolution or a fully connected layer with a bias and no activation fused into it."""


class FlatBuffer:
    """A view of a LiteRT file's only graph.

    Args:
        data: The file. With a `bytearray`, what `values` gives can be changed in place.
    """

    def __init__(self, data: bytes | bytearray) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._model = schema.Model.GetRootAs(data, 0)
        self._graph = self._model.Subgraphs(0)
        self._types = _names(schema.TensorType)
        self._operators = _names(schema.BuiltinOperator)

    def operators(self) -> list[Operator]:
        """All steps, in the order of computation."""
        return [self._operator(self._graph.Operators(i)) for i in range(self._graph.OperatorsLength())]

    def _operator(self, operator: Any) -> Operator:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        # The first of the two numbers is for operators that came when one byte was still enough.
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        custom = code.CustomCode()
        inputs, outputs = (
            tuple(int(i) for i in numbers) for numbers in (operator.InputsAsNumpy(), operator.OutputsAsNumpy())
        )
        name = custom.decode() if custom else self._operators[number]
        return Operator(name, custom is None, inputs, outputs, self._is_linear(operator, name, inputs))

    def _is_linear(self, operator: Any, name: str, inputs: Sequence[int]) -> bool:
        options = {"CONV_2D": self._schema.Conv2DOptions, "FULLY_CONNECTED": self._schema.FullyConnectedOptions}
        if name not in options or len(inputs) < 3 or inputs[2] < 0:
            return False
        table = options[name]()
        table.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        return bool(table.FusedActivationFunction() == self._schema.ActivationFunctionType.NONE)

    def dtype(self, tensor: int) -> str:
        """A tensor's type, such as `INT8` or `FLOAT32`."""
        return self._types[self._graph.Tensors(tensor).Type()]

    def name(self, tensor: int) -> str:
        """A tensor's name."""
        return str(self._graph.Tensors(tensor).Name().decode())

    def buffer(self, tensor: int) -> int:
        """Number of the memory that holds a tensor's values; constants of equal values share it."""
        return int(self._graph.Tensors(tensor).Buffer())

    def values(self, tensor: int) -> npt.NDArray[Any]:
        """The values of a constant in a row, in the file's own memory."""
        data: npt.NDArray[np.uint8] = self._model.Buffers(self.buffer(tensor)).DataAsNumpy()
        return data.view(self.dtype(tensor).lower())


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_")}

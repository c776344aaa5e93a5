"""The kernels of a network by the names of their layers, and which of them are compressed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import keras
import numpy as np

from kresp3d.system.errors import UsageError


@dataclass(frozen=True)
class Kernel:
    """The kernel of a convolution or a dense layer."""

    name: str
    """Such as `res2_1_motion`, `res2_1_attention` or `fc1`."""
    variable: keras.Variable

    @property
    def is_dense(self) -> bool:
        """Whether it is of a dense layer, `[inputs, outputs]`, and not of a convolution, `[..., inputs, outputs]`."""
        return len(self.variable.shape) == 2

    @property
    def is_default(self) -> bool:
        """Whether it is compressed where nobody says which are: all convolutions but the stems', and fc1.

        Stems and the last layer have few weights, of which each counts; the attention's gates are what makes channels
        count.
        """
        return self.name == "fc1" or not (self.is_dense or "stem" in self.name)

    @property
    def size(self) -> int:
        """How many weights it has."""
        return math.prod(self.variable.shape)

    @property
    def zeros(self) -> int:
        """How many of its weights are zero."""
        return self.size - int(np.count_nonzero(self.variable.numpy()))


def kernels(network: keras.Model) -> list[Kernel]:
    """All kernels of a network, from its input to its output."""
    return [Kernel(v.path.removesuffix("/kernel"), v) for v in network.trainable_variables if v.name == "kernel"]


def choose_kernels(network: keras.Model, patterns: Sequence[str] | None) -> list[Kernel]:
    """The kernels that are to be compressed.

    Args:
        network: The network.
        patterns: Names of layers, of which `*` stands for any part, such as `res4*` or `*_motion`; `None` for those
            that `Kernel.is_default` says.

    Raises:
        UsageError: If a pattern fits no layer.
    """
    known = kernels(network)
    if patterns is None:
        return [kernel for kernel in known if kernel.is_default]
    for pattern in patterns:
        if not any(fnmatchcase(kernel.name, pattern) for kernel in known):
            names = [kernel.name for kernel in known]
            near = difflib.get_close_matches(pattern, names, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"its layers are {', '.join(names)}"
            raise UsageError(f"compress.layers: the network has no layer '{pattern}'; {hint}")
    return [kernel for kernel in known if any(fnmatchcase(kernel.name, pattern) for pattern in patterns)]

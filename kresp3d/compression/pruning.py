"""Pruning: the smallest weights become zero during a training, and stay so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kresp3d.compression.kernels import Kernel
from kresp3d.config.schema import CompressConfig
from kresp3d.nn.averages import moving_averages

#: Steps in which the sparsity rises, at the most: sorting the weights of a large layer takes a while.
RENEWALS = 50


class KeepZeros(keras.callbacks.Callback):
    """Keeps the weights at zero that are zero when training begins.

    After every step, so that validation, checkpoints and what is saved see the zeros, and so do the moving averages.

    Args:
        kernels: Whose weights; to be made in the scope of the strategy.

    Attributes:
        variables: Its state, for checkpoints.
        trained: Variables to be trained beside those of the network.
    """

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        super().__init__()
        self.kernels = list(kernels)
        self.masks = [
            tf.Variable(tf.cast(kernel.variable.numpy() != 0, tf.float32), trainable=False, name=f"{kernel.name}/mask")
            for kernel in self.kernels
        ]
        self.variables: list[tf.Variable] = self.masks
        self.trained: list[keras.Variable] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        averages = {id(variable): average for variable, average in moving_averages(self.model)}
        self._masked = [
            (each.value, mask)
            for variable, mask in self.zeros()
            for each in (variable, averages.get(id(variable)))
            if each is not None
        ]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        with self.model.distribute_strategy.scope():
            self.renew()
            for weights, mask in self._masked:
                weights.assign(weights * mask)

    def zeros(self) -> list[tuple[keras.Variable, Any]]:
        """What is to stay zero: variables, and 0 there and 1 elsewhere."""
        return [(kernel.variable, mask) for kernel, mask in zip(self.kernels, self.masks, strict=True)]

    def renew(self) -> None:
        """Change the masks, if that is due."""

    def kernel_values(self) -> list[tuple[keras.Variable, Any]]:
        """Kernels, and the values with which the network computes in their place."""
        return []


class Prune(KeepZeros):
    """Sets the smallest weights of each kernel to zero, more and more of them.

    What is zero when training begins stays so, too.

    Args:
        pruned: What is pruned; to be made in the scope of the strategy.
        sparse: Kernels that have zeros already, pruned further or not.
        config: How.
        steps: Steps of the whole training.
        two_of_four: Whether two of every four neighbouring inputs go, from the first step on.
    """

    def __init__(
        self,
        pruned: Sequence[Kernel],
        sparse: Sequence[Kernel],
        config: CompressConfig,
        steps: int,
        *,
        two_of_four: bool = False,
    ) -> None:
        names = {kernel.name for kernel in pruned}
        super().__init__([*pruned, *(kernel for kernel in sparse if kernel.name not in names)])
        self._pruned = len(pruned)
        self._config = config
        self._two_of_four = two_of_four
        self._frequency, self._end = renewals(steps, config.ramp)
        # Not of the checkpoint: a training that is resumed begins with the same network.
        pairs = zip(pruned, self.masks, strict=False)
        self._before = [(mask, mask.numpy()) for kernel, mask in pairs if kernel.zeros]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # Loaded here, since it takes seconds.
        from kresp3d.compression import tfmot_bridge

        super().on_train_begin(logs)
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        config = self._config
        schedule = (
            tfmot_bridge.ConstantSparsity(config.sparsity, begin_step=1, end_step=1, frequency=1)
            if config.schedule == "constant"
            else tfmot_bridge.PolynomialDecay(0.0, config.sparsity, 0, self._end, frequency=self._frequency)
        )
        self._pruning = tfmot_bridge.MagnitudePruning(
            [kernel.variable.value for kernel in self.kernels[: self._pruned]],
            self.masks[: self._pruned],
            schedule,
            lambda: tf.cast(optimizer.iterations, tf.int32),
            config.block,
            two_of_four=self._two_of_four,
        )

    def renew(self) -> None:
        """Change the masks, in the steps of the schedule."""
        self._pruning.conditional_mask_update()
        for mask, before in self._before:
            mask.assign(mask * before)


def renewals(steps: int, ramp: float) -> tuple[int, int]:
    """After how many steps masks are renewed again, and in which step for the last time.

    The last one is a whole number of times the first one, so that the sparsity that is asked for is reached.
    """
    end = max(1, round(steps * ramp))
    frequency = -(-end // RENEWALS)
    return frequency, end // frequency * frequency

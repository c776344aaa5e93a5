"""tensorflow-model-optimization's algorithms, for the variables behind Keras 3 layers.

Its own interface wraps layers of Keras 2 and refuses those of Keras 3. What is below that works on variables, but is no
public interface: nothing else in kresp3d touches it, and `tests/compression/test_tfmot_bridge.py` fails where a new
release has another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl, pruning_schedule

#: Two zeros in every four neighbouring inputs, which sparse tensor cores and XNNPACK compute faster.
TWO_OF_FOUR = (2, 4)

PolynomialDecay = pruning_schedule.PolynomialDecay
ConstantSparsity = pruning_schedule.ConstantSparsity
PruningSchedule = pruning_schedule.PruningSchedule


class MagnitudePruning(pruning_impl.Pruning):
    """Sets the smallest weights of each kernel to zero: `conditional_mask_update`, then `weight_mask_op`.

    Zhu and Gupta, "To prune, or not to prune", 2017. To be called eagerly, outside of replicas.

    Args:
        weights: Kernels, `[inputs, outputs]` or `[..., inputs, outputs]`.
        masks: A variable of the shape and type of each kernel: 1 where a weight stays, 0 where it goes.
        schedule: Step -> whether masks are renewed in it, and the share of zeros.
        step: The number of steps that are done.
        block: So many inputs of so many outputs go together, by their mean magnitude.
        two_of_four: Two of every four neighbouring inputs go, from the first step on, whatever the schedule says.
    """

    def __init__(
        self,
        weights: Sequence[tf.Variable],
        masks: Sequence[tf.Variable],
        schedule: Any,
        step: Callable[[], tf.Tensor],
        block: tuple[int, int] = (1, 1),
        *,
        two_of_four: bool = False,
    ) -> None:
        # It keeps the smallest magnitude that stays, for its summaries.
        thresholds = [tf.Variable(0.0, trainable=False) for _ in weights]
        variables = list(zip(weights, masks, thresholds, strict=True))
        super().__init__(step, variables, schedule, block, "AVG", TWO_OF_FOUR if two_of_four else None)

    def _validate_block(self) -> None:
        """Leave out its check for kernels of more than two axes, which are brought to two here."""

    def _maybe_update_block_mask(self, weights: tf.Variable) -> tuple[tf.Tensor, tf.Tensor]:
        if self._sparsity_m_by_n or self._block_size == [1, 1]:
            return super()._maybe_update_block_mask(weights)
        threshold, mask = super()._maybe_update_block_mask(tf.reshape(weights, [-1, weights.shape[-1]]))
        return threshold, tf.reshape(mask, weights.shape)

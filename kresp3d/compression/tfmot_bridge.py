"""tensorflow-model-optimization's algorithms, for the variables behind Keras 3 layers.

Its own interface wraps layers of Keras 2 and refuses those of Keras 3. What is below that works on variables, but is no
public interface: nothing else in kresp3d touches it, and `tests/compression/test_tfmot_bridge.py` fails where a new
release has another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_model_optimization.python.core.clustering.keras import clustering_algorithm, clustering_centroids
from tensorflow_model_optimization.python.core.clustering.keras.cluster_config import GradientAggregation
from tensorflow_model_optimization.python.core.quantization.keras import quant_ops
from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl, pruning_schedule

#: Two zeros in every four neighbouring inputs, as sparse tensor cores want them: Mishra et al., "Accelerating Sparse
#: Deep Neural Networks", 2021.
TWO_OF_FOUR = (2, 4)

PolynomialDecay = pruning_schedule.PolynomialDecay
ConstantSparsity = pruning_schedule.ConstantSparsity


def first_centroids(weights: np.ndarray[Any, Any], clusters: int, *, keep_zero: bool) -> np.ndarray[Any, Any]:
    """Values that stand for the weights of a kernel at first, by k-means++; see `cluster`.

    Args:
        weights: The kernel, of any shape.
        clusters: How many values, at least 2; fewer come where the kernel has fewer different ones.
        keep_zero: Whether one of them is 0.
    """
    clusters = min(clusters, len(np.unique(weights)))
    start = clustering_centroids.KmeansPlusPlusCentroidsInitialisation(
        tf.constant(weights), clusters, preserve_sparsity=keep_zero
    )
    return np.asarray(start.get_cluster_centroids(), np.float32)


def cluster(kernel: tf.Variable, centroids: tf.Variable) -> tf.Tensor:
    """Each weight's nearest value.

    The gradient goes to the weight as if nothing were done to it, and to the value as the mean over its weights.

    Args:
        kernel: Of any shape.
        centroids: The values, `[clusters]`.
    """
    algorithm = clustering_algorithm.ClusteringAlgorithm(centroids, GradientAggregation.AVG)
    return algorithm.get_clustered_weight(algorithm.get_pulling_indices(kernel), kernel)


class MagnitudePruning(pruning_impl.Pruning):
    """Sets the smallest weights of each kernel to zero in its masks: `conditional_mask_update`.

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


def widen_range(inputs: tf.Tensor, low: tf.Variable, high: tf.Variable) -> None:
    """Make a range, of which 0 is always a part, hold all values of a tensor too."""
    quant_ops.AllValuesQuantize(inputs, low, high, is_training=True)


def round_in_moving_range(
    inputs: tf.Tensor, low: tf.Variable, high: tf.Variable, *, decay: float, training: bool
) -> tf.Tensor:
    """Round a tensor to 256 values in a range; in training, move the range towards that of the tensor first."""
    return quant_ops.MovingAvgQuantize(inputs, low, high, ema_decay=decay, is_training=training)


def round_in_fixed_range(inputs: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Round a tensor to 256 values between two numbers."""
    return quant_ops.FixedQuantize(inputs, low, high)


def round_kernel(kernel: tf.Tensor, *, per_channel: bool) -> tf.Tensor:
    """Round a kernel to the 255 values of a symmetric range, which ends with its largest magnitude.

    Args:
        kernel: `[inputs, outputs]` or `[rows, columns, inputs, outputs]`.
        per_channel: Whether each output has a range of its own.
    """
    shape = [kernel.shape[-1]] if per_channel else []
    # The last value's range is a function of the kernel alone, but its quantiser wants variables to keep it in.
    low, high = _Assigned(shape), _Assigned(shape)
    # No reshape before or after: LiteRT's converter follows the channels through none.
    return quant_ops.LastValueQuantize(kernel, low, high, per_channel=per_channel, symmetric=True, narrow_range=True)


class _Assigned:
    """In place of a variable: what is assigned to it."""

    def __init__(self, shape: list[int]) -> None:
        self._shape = tf.TensorShape(shape)

    def get_shape(self) -> tf.TensorShape:
        return self._shape

    def assign(self, value: tf.Tensor, name: str | None = None) -> tf.Tensor:
        return value

"""The inner classes of tensorflow-model-optimization that are used, and what they compute, by NumPy."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kresp3d.compression import tfmot_bridge as bridge

Pruning = bridge.pruning_impl.Pruning
Clustering = bridge.clustering_algorithm.ClusteringAlgorithm
#: The parameters that are relied on.
USED = {
    Pruning.__init__: [
        *("self", "training_step_fn", "pruning_vars", "pruning_schedule", "block_size", "block_pooling_type"),
        "sparsity_m_by_n",
    ],
    Pruning._maybe_update_block_mask: ["self", "weights"],
    Pruning._validate_block: ["self"],
    Pruning.conditional_mask_update: ["self"],
    bridge.clustering_centroids.KmeansPlusPlusCentroidsInitialisation.__init__: [
        *("self", "weights", "number_of_clusters", "cluster_per_channel", "data_format", "preserve_sparsity")
    ],
    Clustering.__init__: [*("self", "clusters_centroids", "cluster_gradient_aggregation", "data_format")],
    Clustering.get_pulling_indices: ["self", "weight", "centroids"],
    Clustering.get_clustered_weight: [
        "self",
        "pulling_indices",
        "original_weight",
    ],
    bridge.quant_ops.AllValuesQuantize: [
        *("inputs", "min_var", "max_var", "name_prefix", "is_training", "num_bits", "narrow_range", "symmetric")
    ],
    bridge.quant_ops.MovingAvgQuantize: [
        *("inputs", "min_var", "max_var", "per_channel", "ema_decay", "name_prefix", "is_training", "num_bits"),
        *("narrow_range", "symmetric"),
    ],
    bridge.quant_ops.LastValueQuantize: [
        *("inputs", "min_var", "max_var", "per_channel", "name_prefix", "is_training", "num_bits", "narrow_range"),
        "symmetric",
    ],
    bridge.quant_ops.FixedQuantize: ["inputs", "init_min", "init_max", "scope", "narrow_range"],
    bridge.PolynomialDecay.__init__: [
        *("self", "initial_sparsity", "final_sparsity", "begin_step", "end_step", "power", "frequency")
    ],
    bridge.ConstantSparsity.__init__: ["self", "target_sparsity", "begin_step", "end_step", "frequency"],
}


@pytest.mark.parametrize("function", USED, ids=lambda function: function.__qualname__)
def test_what_is_used_of_it_is_there(function):
    found = list(inspect.signature(function).parameters)
    release = version("tensorflow-model-optimization")
    assert found == USED[function], (
        f"tensorflow-model-optimization {release} has changed {function.__qualname__}: look at what it does now, and "
        "change kresp3d/compression/tfmot_bridge.py"
    )


def mask_of(kernel, step, schedule, **options):
    """The mask that one step makes of a kernel."""
    weights, mask = tf.Variable(kernel), tf.Variable(tf.ones_like(kernel))
    pruning = bridge.MagnitudePruning([weights], [mask], schedule, lambda: tf.constant(step), **options)
    pruning.conditional_mask_update()
    return mask.numpy()


def normal(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


shapes = st.sampled_from([(6, 5), (1, 1, 8, 3), (3, 1, 4, 4), (3, 3, 3, 2, 4), (1, 1, 6, 7)])
kernels = st.builds(normal, shapes, st.integers(0, 99))


@settings(deadline=None, max_examples=20)
@given(kernels, st.floats(0.0, 0.99))
def test_the_smallest_weights_go(kernel, sparsity):
    mask = mask_of(kernel, 1, bridge.ConstantSparsity(sparsity, 1, 1, 1))
    assert abs(mask.sum() - max(1, kernel.size * (1 - sparsity))) <= 1
    assert set(np.unique(mask)) <= {0, 1}
    kept, gone = np.abs(kernel)[mask == 1], np.abs(kernel)[mask == 0]
    assert not gone.size or gone.max() <= kept.min()


@settings(deadline=None, max_examples=10)
@given(kernels, st.sampled_from([(1, 2), (2, 1), (2, 2), (4, 1)]))
def test_blocks_go_together_by_their_mean(kernel, block):
    mask = mask_of(kernel, 1, bridge.ConstantSparsity(0.5, 1, 1, 1), block=block)
    rows = np.reshape(mask, (-1, kernel.shape[-1]))
    for top in range(0, rows.shape[0], block[0]):
        for left in range(0, rows.shape[1], block[1]):
            assert len(np.unique(rows[top : top + block[0], left : left + block[1]])) == 1
    assert 0 < mask.mean() < 1


@settings(deadline=None, max_examples=10)
@given(st.builds(normal, st.sampled_from([(8, 5), (1, 1, 8, 3), (3, 1, 4, 4), (1, 1, 6, 2)]), st.integers(0, 99)))
def test_of_four_neighbouring_inputs_the_two_largest_stay(kernel):
    mask = mask_of(kernel, 1, bridge.ConstantSparsity(0.5, 1, 1, 1), two_of_four=True)
    rows, sizes = (np.moveaxis(v, -2, -1).reshape(-1, kernel.shape[-2]) for v in (mask, np.abs(kernel)))
    for row, size in zip(rows, sizes, strict=True):
        for first in range(0, len(row), 4):
            four, four_sizes = row[first : first + 4], size[first : first + 4]
            assert four.sum() == min(2, len(four))
            assert four[np.argsort(-four_sizes)[:2]].all()


def test_masks_are_renewed_in_the_steps_of_the_schedule_and_no_other():
    kernel = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    schedule = bridge.PolynomialDecay(0.0, 0.8, 0, 10, frequency=5)
    zeros = [100 - int(mask_of(kernel, step, schedule).sum()) for step in (4, 5, 9, 10, 15)]
    # 0.8 - 0.8 (1 - 5/10)^3 = 0.7 after half of the steps.
    assert zeros == [0, 70, 0, 80, 0]


@settings(deadline=None, max_examples=20)
@given(st.builds(normal, st.sampled_from([(1, 1, 8, 3), (3, 3, 4, 5), (6, 5)]), st.integers(0, 99)), st.booleans())
def test_kernels_are_rounded_to_255_values_up_to_their_largest(kernel, per_channel):
    found = bridge.round_kernel(tf.constant(kernel), per_channel=per_channel).numpy()
    axes = tuple(range(kernel.ndim - 1)) if per_channel else None
    step = np.abs(kernel).max(axis=axes) / 127
    np.testing.assert_allclose(found, np.round(kernel / step) * step, atol=1e-6)
    np.testing.assert_allclose(bridge.round_kernel(tf.constant(found), per_channel=per_channel), found, atol=1e-6)


def test_the_gradient_passes_the_rounding_of_kernels():
    kernel = tf.Variable(normal((3, 1, 4, 2), 0))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(bridge.round_kernel(kernel, per_channel=True) * 3.0)
    assert np.unique(tape.gradient(total, kernel).numpy()).tolist() == [3.0]


@settings(deadline=None, max_examples=10)
@given(kernels, st.integers(2, 20))
def test_weights_become_the_nearest_of_a_few_values(kernel, clusters):
    values = bridge.first_centroids(kernel, clusters, keep_zero=False)
    assert len(values) == min(clusters, kernel.size) and kernel.min() <= values.min() <= values.max() <= kernel.max()
    found = bridge.cluster(tf.Variable(kernel), tf.Variable(values)).numpy()
    nearest = values[np.abs(kernel[..., None] - values).argmin(axis=-1)]
    np.testing.assert_array_equal(found, nearest)


def test_the_gradient_of_clusters_goes_to_each_weight_and_as_a_mean_to_the_values():
    kernel, values = tf.Variable([[0.9, 1.2], [3.0, 1.0]]), tf.Variable([1.0, 3.0])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(bridge.cluster(kernel, values) * tf.constant([[1.0, 2.0], [3.0, 6.0]]))
    to_kernel, to_values = tape.gradient(total, [kernel, values])
    assert to_kernel.numpy().tolist() == [[1, 2], [3, 6]]
    assert tf.convert_to_tensor(to_values).numpy().tolist() == [3, 3]


def test_one_of_the_values_is_zero_where_that_is_asked_for():
    kernel = normal((20, 20), 0)
    assert 0 in bridge.first_centroids(kernel, 5, keep_zero=True)
    assert 0 not in bridge.first_centroids(kernel, 5, keep_zero=False)

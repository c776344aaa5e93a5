from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.compression.kernels import choose_kernels, kernels
from kresp3d.compression.pruning import RENEWALS, KeepZeros, Prune, renewals
from kresp3d.config.schema import CompressConfig
from kresp3d.nn import P3DResNet
from kresp3d.nn.averages import moving_averages


@given(st.integers(1, 100_000), st.floats(0.01, 1.0))
def test_renewals_end_with_the_ramp_and_are_few(steps, ramp):
    frequency, end = renewals(steps, ramp)
    assert end % frequency == 0 and 1 <= end // frequency <= RENEWALS
    assert end - 1 <= steps and abs(end - steps * ramp) <= frequency + 1


def trained(method, *, steps=12, optimizer=None, **values):
    """A network after some steps in which it was pruned, and what pruned it."""
    keras.utils.set_random_seed(0)
    network = P3DResNet(classes=3, frames=2, size=16, width=4, blocks=(1,), fc1=8, dropout=0.0)
    network.compile(optimizer or keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.9), "mse")
    network.optimizer.build(network.trainable_variables)
    config = CompressConfig(methods=(method,), **values)
    pruned = Prune(choose_kernels(network, None), [], config, steps, two_of_four=method == "prune-2x4")
    random = np.random.default_rng(0)
    clips = random.integers(0, 256, (2 * steps, 3, 16, 16, 3), np.uint8)
    targets = random.normal(size=(2 * steps, 3)).astype(np.float32)
    network.fit({"frames": clips}, targets, batch_size=2, verbose=0, callbacks=[pruned])
    return network, pruned


def shares(network):
    return {kernel.name: kernel.zeros / kernel.size for kernel in kernels(network)}


@pytest.fixture
def mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("mixed_precision")
def test_in_mixed_precision_the_weights_are_zero_and_not_their_casts_alone():
    network, pruned = trained("prune", sparsity=0.75)
    assert network.get_layer("fc1").compute_dtype == "bfloat16"
    for kernel, mask in zip(pruned.kernels, pruned.masks, strict=True):
        assert kernel.variable.dtype == "float32" and kernel.zeros / kernel.size == pytest.approx(0.75, abs=0.05)
        np.testing.assert_array_equal(kernel.variable.numpy() != 0, mask.numpy() == 1)


@pytest.mark.parametrize("schedule", ["polynomial", "constant"])
def test_so_many_of_the_chosen_weights_are_zero_at_the_end_and_none_of_the_others(schedule):
    network, _ = trained("prune", sparsity=0.75, schedule=schedule)
    chosen = {kernel.name for kernel in choose_kernels(network, None)}
    for kernel in kernels(network):
        expected = 0.75 if kernel.name in chosen else 0.0
        assert kernel.zeros / kernel.size == pytest.approx(expected, abs=0.5 / kernel.size + 1e-6), kernel.name


def test_the_moving_averages_and_masks_are_zero_where_the_weights_are():
    network, pruned = trained("prune", sparsity=0.5)
    averages = {v.path: average.numpy() for v, average in moving_averages(network)}
    for kernel, mask in zip(pruned.kernels, pruned.masks, strict=True):
        np.testing.assert_array_equal(kernel.variable.numpy() != 0, mask.numpy() == 1)
        np.testing.assert_array_equal(averages[kernel.variable.path] != 0, mask.numpy() == 1)


def test_two_of_four_neighbouring_inputs_are_zero():
    network, _ = trained("prune-2x4")
    for kernel in choose_kernels(network, None):
        values = np.moveaxis(kernel.variable.numpy(), -2, -1)
        for first in range(0, values.shape[-1], 4):
            four = values[..., first : first + 4]
            assert ((four != 0).sum(axis=-1) == min(2, four.shape[-1])).all(), kernel.name


def test_the_weights_that_stay_are_trained():
    network, _ = trained("prune", sparsity=0.5)
    other, _ = trained("prune", sparsity=0.5, steps=6)
    for one, two in zip(choose_kernels(network, None), choose_kernels(other, None), strict=True):
        assert not np.array_equal(one.variable.numpy(), two.variable.numpy())


def test_with_scaled_losses_it_counts_the_steps_of_the_inner_optimiser():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=8.0)
    network, _ = trained("prune", sparsity=0.75, optimizer=scaled)
    assert shares(network)["fc1"] == pytest.approx(0.75, abs=0.01)


def test_what_is_zero_at_the_beginning_stays_so():
    network, _ = trained("prune", sparsity=0.75, steps=2)
    before = {kernel.name: kernel.variable.numpy() != 0 for kernel in kernels(network)}
    network.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5), "mse")
    network.optimizer.build(network.trainable_variables)
    clips, targets = np.full((8, 3, 16, 16, 3), 99, np.uint8), np.ones((8, 3), np.float32)
    network.fit({"frames": clips}, targets, batch_size=2, verbose=0, callbacks=[KeepZeros(kernels(network))])
    for kernel in kernels(network):
        np.testing.assert_array_equal(kernel.variable.numpy() != 0, before[kernel.name])


def test_zeros_of_layers_that_are_not_pruned_stay_too():
    network = P3DResNet(classes=3, frames=2, size=16, width=4, blocks=(1,), fc1=8)
    gate, fc1 = choose_kernels(network, ["*_attention", "fc1"])
    values = gate.variable.numpy()
    values[::2] = 0
    gate.variable.assign(values)
    network.compile(keras.optimizers.SGD(0.5), "mse")
    network.optimizer.build(network.trainable_variables)
    config = CompressConfig(methods=("prune",), sparsity=0.5)
    clips, targets = np.full((8, 3, 16, 16, 3), 99, np.uint8), np.ones((8, 3), np.float32)
    pruned = Prune([fc1], [gate], config, 4)
    network.fit({"frames": clips}, targets, batch_size=2, verbose=0, callbacks=[pruned])
    assert not gate.variable.numpy()[::2].any() and gate.variable.numpy()[1::2].all()
    assert fc1.zeros == fc1.size // 2


def test_masks_are_state_of_the_training():
    _, pruned = trained("prune", sparsity=0.5, steps=2)
    assert pruned.variables == pruned.masks
    assert all(isinstance(mask, tf.Variable) and not mask.trainable for mask in pruned.variables)

"""The optimiser against its formulas in NumPy."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from kresp3d.config.schema import TrainingConfig
from kresp3d.runs.phases import Phase
from kresp3d.training.optimizer import LaterSchedule, make_optimizer, make_schedule


def expected_rate(step, peak, warmup, total):
    """Linear in `warmup` steps, of which the last has the peak; from there half a cosine to 0 at `total`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    top = max(warmup - 1, 0)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - top) / (total - top)))


@pytest.mark.parametrize(("epochs", "warmup", "steps"), [(10, 3, 7), (5, 0.5, 4), (4, 0, 5), (3, 0.25, 4)])
def test_the_rate_rises_in_a_line_and_falls_in_a_cosine(epochs, warmup, steps):
    schedule = make_schedule(TrainingConfig(epochs=epochs, warmup_epochs=warmup, learning_rate=0.3), steps)
    for step in range(epochs * steps + 1):
        expected = expected_rate(step, 0.3, warmup * steps, epochs * steps)
        assert float(schedule(step)) == pytest.approx(expected, abs=1e-6)


def test_in_a_phase_the_rate_rises_and_falls_over_its_own_epochs():
    phase = Phase(first_epoch=4, first_step=33, changed={})
    schedule = make_schedule(TrainingConfig(epochs=8, warmup_epochs=2, learning_rate=0.2), 7, phase)
    for step in range(5 * 7 + 1):
        assert float(schedule(33 + step)) == pytest.approx(expected_rate(step, 0.2, 14, 35), abs=1e-6)
    again = LaterSchedule.from_config(schedule.get_config())
    assert float(again(40)) == float(schedule(40))


@pytest.mark.parametrize(("warmup", "first"), [(0, 0.3), (0.1, 0.3), (0.2, 0.15), (2, 0.015), (3, 0.01)])
def test_every_step_moves_the_weights(warmup, first):
    schedule = make_schedule(TrainingConfig(epochs=3, warmup_epochs=warmup, learning_rate=0.3), 10)
    rates = [float(schedule(step)) for step in range(30)]
    assert rates[0] == pytest.approx(first) and max(rates) == pytest.approx(0.3) and min(rates) > 0


def test_the_only_step_has_the_full_rate():
    schedule = make_schedule(TrainingConfig(epochs=1, warmup_epochs=3, learning_rate=0.3), 1)
    assert float(schedule(0)) == pytest.approx(0.3)


def test_a_warm_up_longer_than_training_ends_with_it():
    schedule = make_schedule(TrainingConfig(epochs=2, warmup_epochs=9, learning_rate=0.3), 5)
    rates = [float(schedule(step)) for step in range(10)]
    assert rates == sorted(rates) and rates[-1] == pytest.approx(0.3)


@pytest.mark.parametrize(("nesterov", "ema"), [(True, 0.9), (False, 0.25), (True, 0.0)])
def test_steps_follow_the_formulas(nesterov, ema):
    config = TrainingConfig(
        optimizer="sgd",
        epochs=3,
        learning_rate=0.2,
        momentum=0.8,
        nesterov=nesterov,
        warmup_epochs=1,
        weight_decay=0.1,
        clip_norm=1.5,
        ema=ema,
    )
    random = np.random.default_rng(0)
    names = ("kernel", "bias", "gamma", "beta")
    values = [random.normal(size=shape) for shape in ((3, 2), (2,), (2,), (2,))]
    variables = [keras.Variable(value, dtype="float32", name=name) for name, value in zip(names, values, strict=True)]
    optimizer = make_optimizer(config, 2)
    optimizer.build(variables)
    momenta, averages, norms = [0.0 for _ in names], [], []
    for step in range(6):
        gradients = [random.normal(size=value.shape) * (0.1 if step % 2 else 1.0) for value in values]
        optimizer.apply([keras.ops.convert_to_tensor(g, "float32") for g in gradients], variables)

        norm = math.sqrt(sum((g**2).sum() for g in gradients))
        norms.append(norm)
        rate = expected_rate(step, 0.2, 2, 6)
        for i, (name, gradient) in enumerate(zip(names, gradients, strict=True)):
            gradient = gradient * min(1.0, 1.5 / norm)
            if name == "kernel":
                # Decay stands beside the momentum, not in it (Loshchilov and Hutter, 2019).
                values[i] = values[i] * (1 - 0.1 * rate)
            momenta[i] = 0.8 * momenta[i] - rate * gradient
            values[i] = values[i] + (0.8 * momenta[i] - rate * gradient if nesterov else momenta[i])
        pairs = zip(averages or values, values, strict=True)
        decay = min(ema, (1 + step) / (10 + step))
        averages = [decay * average + (1 - decay) * value for average, value in pairs]
    assert min(norms) < 1.5 < max(norms)
    for variable, value in zip(variables, values, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-5, err_msg=variable.name)
    for average, value in zip(optimizer._model_variables_moving_average, averages, strict=True):
        np.testing.assert_allclose(average.numpy(), value, rtol=1e-4, atol=1e-5)


def test_the_network_decays_kernels_only():
    from kresp3d.nn import P3DResNet

    network = P3DResNet(classes=3, frames=4, size=16, width=4, blocks=(1,), fc1=8)
    optimizer = make_optimizer(TrainingConfig(), 1)
    optimizer.build(network.trainable_variables)
    decayed = {v.name for v in network.trainable_variables if optimizer._use_weight_decay(v)}
    spared = {v.name for v in network.trainable_variables if not optimizer._use_weight_decay(v)}
    assert decayed == {"kernel"} and spared == {"bias", "gamma", "beta"}


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_follows_its_formulas(decay):
    config = TrainingConfig(
        optimizer="adamw",
        epochs=2,
        learning_rate=0.01,
        momentum=0.8,
        warmup_epochs=0,
        weight_decay=decay,
        clip_norm=None,
    )
    random = np.random.default_rng(0)
    value, mean, square = random.normal(size=(3, 2)), 0.0, 0.0
    variable = keras.Variable(value, dtype="float32", name="kernel")
    optimizer = make_optimizer(config, 3)
    optimizer.build([variable])
    for step in range(6):
        gradient = random.normal(size=(3, 2))
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        rate = expected_rate(step, 0.01, 0, 6)
        mean, square = 0.8 * mean + 0.2 * gradient, 0.999 * square + 0.001 * gradient**2
        corrected = mean / (1 - 0.8 ** (step + 1)), square / (1 - 0.999 ** (step + 1))
        value = value * (1 - decay * rate) - rate * corrected[0] / (np.sqrt(corrected[1]) + 1e-7)
    np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-5)

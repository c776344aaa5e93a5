from __future__ import annotations

import keras
import numpy as np
import pytest

from kresp3d.compression.kernels import kernels
from kresp3d.compression.pruning import KeepZeros
from kresp3d.compression.quantization import Quantize, begin_quantization, layers_with_ranges, rounded
from kresp3d.compression.rounding import rounds_as_int8
from kresp3d.nn import P3DResNet
from kresp3d.nn.layers import FactorizedConv
from kresp3d.nn.transforms import inference_form
from kresp3d.training.averages import kept_weights
from kresp3d.training.validation import ScoredModel


def network(**values):
    keras.utils.set_random_seed(0)
    model = P3DResNet(
        classes=3, **{"frames": 4, "size": 16, "width": 4, "blocks": (1, 1), "fc1": 8, "dropout": 0.3, **values}
    )
    random = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


clips = np.random.default_rng(1).integers(0, 256, (8, 5, 16, 16, 3), np.uint8)


@pytest.mark.parametrize("modality", ["both", "rgb", "residual"])
def test_it_begins_near_the_trained_network(modality):
    trained = network(modality=modality)
    begun = begin_quantization(trained, [clips])
    assert rounds_as_int8(begun) and not rounds_as_int8(trained)
    exact = np.asarray(inference_form(trained)({"frames": clips}))
    found = np.asarray(inference_form(begun)({"frames": clips}))
    assert 0 < np.abs(found - exact).max() < 0.05
    lows = [float(v.numpy()) for v in begun.non_trainable_variables if v.name == "low"]
    highs = [float(v.numpy()) for v in begun.non_trainable_variables if v.name == "high"]
    assert len(lows) == len(highs) > 20 and max(lows) <= 0 <= min(highs)
    assert all(low < high for low, high in zip(lows, highs, strict=True))


def scored(begun, sparse=()):
    model = ScoredModel(begun.input, begun.output)
    model.compile(keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.5), "mse")
    model.optimizer.build(model.trainable_variables)
    quantize = Quantize(begun, list(sparse))
    model.kernel_values = quantize.kernel_values
    return model, quantize


def test_training_moves_the_kernels_behind_the_rounded_ones_and_the_ranges():
    begun = begin_quantization(network(), [clips])
    model, quantize = scored(begun)
    before = [v.numpy() for v in model.variables]
    model.fit({"frames": clips}, np.ones((8, 3), np.float32), batch_size=4, epochs=2, verbose=0, callbacks=[quantize])
    moved = {v.path for v, old in zip(model.variables, before, strict=True) if not np.array_equal(v.numpy(), old)}
    assert {kernel.variable.path for kernel in kernels(begun)} <= moved
    # Dropout's random state, too, which changes inside of the network's call.
    assert any("seed_generator" in path for path in moved) and any(path.endswith("/high") for path in moved)
    kernel = kernels(begun)[5]
    assert len(np.unique(kernel.variable.numpy())) > 255 * 0.9 or kernel.size < 255


def test_what_is_kept_is_rounded_and_training_goes_on_from_the_raw_kernels():
    begun = begin_quantization(network(), [clips])
    model, quantize = scored(begun)
    model.fit({"frames": clips}, np.ones((8, 3), np.float32), batch_size=4, verbose=0, callbacks=[quantize])
    raw = model.get_weights()
    inputs = {"frames": clips}
    with kept_weights(model):
        for kernel in kernels(begun):
            values = kernel.variable.numpy()
            np.testing.assert_allclose(rounded(kernel), values, atol=1e-6)
            step = np.abs(values).max(axis=None if kernel.is_dense else (0, 1, 2)) / 127
            # A channel that was never used has no step.
            steps = np.divide(values, step, out=np.zeros_like(values), where=step > 0)
            np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
        np.testing.assert_allclose(begun(inputs, training=False), model(inputs, training=False), atol=1e-5)
    for now, then in zip(model.get_weights(), raw, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"modality": "rgb", "attention": False, "stem_pool": True},
        {"modality": "residual", "feature_residual": False, "attention_pool": "space", "blocks": (2, 1)},
    ],
    ids=str,
)
def test_the_range_before_each_layer_is_that_of_its_input(values):
    begun = begin_quantization(network(**values), [clips])
    layers = list(layers_with_ranges(begun))
    assert {id(layer.kernel) for layer in layers} == {id(kernel.variable) for kernel in kernels(begun)}
    seen = {}

    def watch(layer, kernel):
        call = layer.call

        def watched(inputs, *arguments, **options):
            seen[id(kernel)] = np.asarray(inputs)
            return call(inputs, *arguments, **options)

        layer.call = watched

    for layer in begun.layers:
        if isinstance(layer, FactorizedConv | keras.layers.Dense):
            watch(layer, layer.kernel if isinstance(layer, FactorizedConv) else layer._kernel)
    begun({"frames": clips}, training=False)
    for layer in layers:
        steps = seen[id(layer.kernel)] / float(layer.rounding.step())
        np.testing.assert_allclose(steps, np.round(steps), atol=0.01, err_msg=layer.kernel.path)
        assert steps.max() - steps.min() <= 255.01


def test_biases_are_multiples_of_a_step_of_the_input_times_one_of_the_kernel():
    begun = begin_quantization(network(), [clips])
    for layer in layers_with_ranges(begun):
        kernel = rounded(next(kernel for kernel in kernels(begun) if kernel.variable is layer.kernel))
        axes = None if len(kernel.shape) == 2 else (0, 1, 2)
        step = np.abs(kernel.numpy()).max(axis=axes) / 127 * float(layer.rounding.step())
        bias = np.asarray(layer.rounded_bias(kernel))
        np.testing.assert_allclose(bias / step, np.round(bias / step), atol=0.02)
        assert np.abs(bias - layer.bias.numpy()).max() <= 0.51 * np.max(step)


def test_zeros_stay():
    trained = network()
    sparse = kernels(trained)[6]
    values = sparse.variable.numpy()
    values[..., ::2] = 0
    sparse.variable.assign(values)
    begun = begin_quantization(trained, [clips])
    [zeroed] = [kernel for kernel in kernels(begun) if kernel.zeros]
    assert zeroed.name == sparse.name
    model, quantize = scored(begun, [zeroed])
    assert isinstance(quantize, KeepZeros)
    model.fit({"frames": clips}, np.ones((8, 3), np.float32), batch_size=4, verbose=0, callbacks=[quantize])
    with kept_weights(model):
        assert not zeroed.variable.numpy()[..., ::2].any() and zeroed.variable.numpy().any()


def test_the_rounded_value_of_a_frame_never_depends_on_noise():
    begun = begin_quantization(network(), [clips])
    frames = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None, None, None], (256, 5, 16, 16, 3))
    rgb = keras.Model(begun.input, begun.get_layer("rgb_rounding").output)({"frames": frames})[:, 0, 0, 0, 0]
    exact, step = np.arange(256) / 127.5 - 1, 257 / 127.5 / 255
    np.testing.assert_allclose(rgb, exact, atol=0.51 * step)
    places = exact / step
    assert np.abs(places - np.floor(places) - 0.5).min() > 1e-3

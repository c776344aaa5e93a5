"""The folded network against the trained one."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kresp3d.nn.layers import BatchNorm
from kresp3d.nn.transforms import inference_form


def softmax(logits):
    exponents = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"modality": "rgb", "stem_pool": True},
        {"modality": "residual", "step": 2, "expansion": 4},
        {"attention": False, "feature_residual": False},
        {"attention_pool": "space", "norm": "sync_batch"},
        {"variant": "full3d"},
    ],
    ids=str,
)
def test_gives_the_softmax_of_the_trained_network(trained, clips, options):
    network = trained(**options)
    folded = inference_form(network)
    frames = clips(network)
    expected = softmax(np.asarray(network({"frames": frames}, training=False)))
    assert expected.std(axis=0).max() > 1e-3, "the clips must be told apart"
    np.testing.assert_allclose(folded({"frames": frames}), expected, atol=1e-5)
    np.testing.assert_allclose(inference_form(network, unsigned=True)({"frames": frames}), expected, atol=1e-5)


def test_holds_no_batch_norm_no_dropout_and_nothing_to_update(trained):
    folded = inference_form(trained())
    layers = list(folded._flatten_layers())
    assert not [layer for layer in layers if isinstance(layer, (BatchNorm, keras.layers.Dropout))]
    assert not folded.non_trainable_variables
    convolutions = [layer for layer in layers if hasattr(layer, "kernel")]
    assert convolutions and all(layer.bias is not None for layer in convolutions)


def test_leaves_the_trained_network_as_it_was(trained):
    network = trained()
    before = [np.array(weight) for weight in network.weights]
    for weight in inference_form(network).weights:
        weight.assign(np.zeros(weight.shape))
    for weight, value in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_a_network_trained_in_mixed_precision_computes_in_the_precision_asked_for(trained, clips):
    reference = trained()
    network = trained(dtype="mixed_bfloat16")
    network.set_weights(reference.get_weights())
    frames = clips(network)
    expected = inference_form(reference)({"frames": frames})
    single, half = (inference_form(network, precision=p) for p in ("float32", "bfloat16"))
    np.testing.assert_allclose(single({"frames": frames}), expected, atol=1e-6)
    assert np.abs(half({"frames": frames}) - np.asarray(expected)).max() < 0.05
    assert [network.get_layer("res2_1").compute_dtype for network in (half, single)] == ["bfloat16", "float32"]
    assert half.output.dtype == "float32" and {weight.dtype for weight in half.weights} == {"float32"}


def test_takes_the_same_frames_as_numbers_without_integers(trained, clips):
    network = trained()
    frames = clips(network)
    floating = inference_form(network, input_dtype="float32")
    assert floating.input["frames"].dtype == "float32"
    np.testing.assert_array_equal(
        floating({"frames": frames.astype("float32")}), inference_form(network)({"frames": frames})
    )


def test_can_be_saved_and_restored(trained, clips, tmp_path):
    network = trained()
    folded = inference_form(network)
    folded.save(tmp_path / "folded.keras")
    restored = keras.models.load_model(tmp_path / "folded.keras")
    frames = clips(network)
    np.testing.assert_array_equal(restored({"frames": frames}), folded({"frames": frames}))


def test_a_network_that_ends_in_a_softmax_is_refused(trained):
    network = trained(blocks=(1,))
    ended = [
        inference_form(network),
        keras.Model(network.input, keras.layers.Softmax()(network.output)),
        keras.Model(network.input, keras.layers.Activation("softmax")(network.output)),
        keras.Model(network.input, keras.layers.Dense(3, activation="softmax")(network.get_layer("fc1").output)),
    ]
    for model in ended:
        with pytest.raises(ValueError, match=r"inference_form: expected a network that gives logits, .* softmax"):
            inference_form(model)


@pytest.mark.parametrize("value", ["float16", "bf16", None, 3, ["float32"]])
@pytest.mark.parametrize("argument", ["precision", "input_dtype"])
def test_unknown_precisions_and_types_are_refused(trained, argument, value):
    with pytest.raises(ValueError, match=rf"inference_form: {argument} must be one of .*float32.*, received "):
        inference_form(trained(blocks=(1,)), **{argument: value})

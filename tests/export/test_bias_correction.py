"""Bias correction, on a small network whose error is known."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed (the extra litert)")

from kresp3d.export.bias_correction import correct_biases
from kresp3d.export.flatbuffer import FlatBuffer

CLIPS = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), np.uint8)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A float32 network of two convolutions, a dense layer and a softmax, and its int8 form, as LiteRT files."""
    keras.utils.set_random_seed(0)
    frames = keras.Input((6, 6, 3), batch_size=1)
    x = keras.layers.Conv2D(4, 3, bias_initializer="ones", name="first")(frames / 255)
    x = keras.layers.Conv2D(5, 3, activation="relu", bias_initializer="ones", name="second")(x)
    x = keras.layers.Dense(3, bias_initializer="ones", name="last")(keras.layers.GlobalAveragePooling2D()(x))
    outputs = keras.layers.Softmax()(x)
    model = keras.Model(frames, outputs)
    return export(model, tmp_path_factory.mktemp("networks"))


def export(model, folder):
    """Its float32 and its int8 form as LiteRT files."""
    files = [folder / name for name in ("plain.tflite", "integer.tflite")]
    model.export(str(files[0]), format="litert", verbose=False)
    model.export(
        str(files[1]),
        format="litert",
        verbose=False,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([clip[None].astype(np.float32)] for clip in CLIPS),
        inference_input_type=tf.uint8,
    )
    return [file.read_bytes() for file in files]


def mean_scores(model):
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(model_content=bytes(model))
    network.allocate_tensors()
    [frames], [scores] = network.get_input_details(), network.get_output_details()
    found = []
    for clip in CLIPS:
        network.set_tensor(frames["index"], clip[None].astype(frames["dtype"]))
        network.invoke()
        found.append(network.get_tensor(scores["index"])[0])
    return np.mean(found, axis=0)


def test_layers_are_linear_where_no_activation_follows(networks):
    steps = [
        operator
        for operator in FlatBuffer(networks[1]).operators()
        if "CONV" in operator.name or "FULLY" in operator.name
    ]
    assert [(step.name, step.linear, step.builtin) for step in steps] == [
        ("CONV_2D", True, True),
        ("CONV_2D", False, True),
        ("FULLY_CONNECTED", True, True),
    ]


@pytest.mark.parametrize("layer", [0, -1])
def test_a_wrong_bias_is_put_right(networks, layer):
    plain, integer = networks
    wrong = bytearray(integer)
    buffer = FlatBuffer(wrong)
    bias = [operator for operator in buffer.operators() if operator.linear][layer].inputs[2]
    values = buffer.values(bias)
    values[:] += (values * np.array([-0.3, -0.2, -0.1, -0.2])[: len(values)]).astype(np.int32)
    expected = mean_scores(plain)
    before = np.abs(mean_scores(wrong) - expected).max()
    after = np.abs(mean_scores(correct_biases(bytes(wrong), plain, CLIPS)) - expected).max()
    # An int8 probability is a multiple of 1/256.
    assert before > 3 / 256
    assert after < 1 / 256


def test_nothing_but_biases_changes(networks):
    plain, integer = networks
    corrected = correct_biases(integer, plain, CLIPS)
    assert len(corrected) == len(integer)
    before, after = (bytearray(model) for model in (integer, corrected))
    for model in (before, after):
        buffer = FlatBuffer(model)
        for operator in buffer.operators():
            if operator.linear:
                buffer.values(operator.inputs[2])[:] = 0
    assert before == after


def test_a_bias_that_two_layers_share_stays(tmp_path):
    keras.utils.set_random_seed(0)
    frames = keras.Input((6, 6, 3), batch_size=1)
    x = keras.layers.Conv2D(4, 3, bias_initializer="zeros", name="first")(frames / 255)
    x = keras.layers.Conv2D(4, 3, bias_initializer="zeros", name="second")(x)
    model = keras.Model(frames, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x)))
    plain, integer = export(model, tmp_path)
    buffer = FlatBuffer(integer)
    shared = [buffer.buffer(operator.inputs[2]) for operator in buffer.operators() if operator.linear]
    assert len(shared) == 2 and len(set(shared)) == 1
    assert correct_biases(integer, plain, CLIPS) == integer

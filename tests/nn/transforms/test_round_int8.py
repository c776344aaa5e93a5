import keras
import numpy as np
import pytest

from kresp3d.nn.transforms import fold, round_int8


class Passing(keras.layers.Layer):
    """Lets everything pass."""

    def __init__(self, fixed=None, **options):
        super().__init__(**options)
        self.fixed = fixed

    def call(self, inputs, learns=True):
        return inputs


class Rounded(Passing):
    """Rounds to multiples of a step; a frame's fixed range tells it."""

    def call(self, inputs, learns=True):
        return keras.ops.round(inputs * 64) / 64


SETTINGS = [
    {},
    {"modality": "rgb", "attention": False, "stem_pool": True},
    {"modality": "residual", "feature_residual": False, "attention_pool": "space"},
    {"attention_pool": "space", "expansion": 2, "step": 2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_without_an_error_of_rounding_it_is_the_fold(trained, clips, settings):
    network = trained(**settings)
    inputs = {"frames": clips(network)}
    found = round_int8(network, Passing)(inputs)
    np.testing.assert_allclose(found, fold(network)(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_layer_with_weights_sees_rounded_values(trained, clips, settings):
    network = round_int8(trained(**settings), Rounded)
    layers = [layer for layer in network.layers if layer.weights]
    inputs = keras.Model(network.input, [layer.input for layer in layers])({"frames": clips(network)})
    assert len(layers) > 8
    for layer, values in zip(layers, inputs, strict=True):
        steps = np.asarray(values) * 64
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3, err_msg=layer.name)


def test_a_motion_feature_its_residual_and_what_they_are_concatenated_into_have_one_range(trained):
    network = round_int8(trained(), Passing)
    rounding = network.get_layer("res2_1_cat_rounding")
    calls = [node for node in rounding._inbound_nodes if node.arguments.kwargs.get("learns", True) is False]
    (motion,) = [node.input_tensors[0]._keras_history.operation.name for node in calls]
    assert motion == "res2_1_motion"
    rise = network.get_layer("res2_1_feature_residual_rise").input
    assert rise._keras_history.operation is rounding


def test_ranges_of_frames_and_masks_are_known(trained):
    network = round_int8(trained(), Passing)
    fixed = {layer.name: layer.fixed for layer in network.layers if getattr(layer, "fixed", None)}
    assert set(fixed) == {
        "rgb_product_rounding",
        "rgb_rounding",
        *(f"{block}_attention_mask_rounding" for block in ("res2_1", "res3_1", "res3_2")),
    }
    assert fixed["rgb_product_rounding"] == (0.0, 2.0)
    assert fixed["res2_1_attention_mask_rounding"] == (0.0, 255 / 256)

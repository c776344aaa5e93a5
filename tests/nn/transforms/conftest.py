import keras
import numpy as np
import pytest

from kresp3d.nn import P3DResNet

SMALL = {"frames": 4, "size": 16, "width": 4, "blocks": (1, 2), "fc1": 8, "dropout": 0.5}


@pytest.fixture
def trained(keras_weights):
    """`trained(**settings)` gives a small network none of whose weights and statistics is an initial one."""

    def make(**settings):
        keras.utils.set_random_seed(0)
        model = keras_weights.randomise(P3DResNet(classes=3, **{**SMALL, **settings}))
        # Logits that differ by about 1 between clips, so that the softmax tells them apart.
        frames = clips_of(model)
        last = model.get_layer("fc2")
        last.kernel.assign(last.kernel / np.std(model({"frames": frames}, training=False), axis=0).max())
        last.bias.assign(last.bias - np.mean(model({"frames": frames}, training=False), axis=0))
        return model

    return make


def clips_of(model, batch=3):
    """Noise, each clip brighter than the one before and with more motion."""
    shape = (batch, *model.input["frames"].shape[1:])
    noise = np.random.default_rng(1).integers(0, 256, shape)
    return (noise * np.linspace(0.05, 1, batch)[:, None, None, None, None]).astype("uint8")


@pytest.fixture
def clips():
    """`clips(model)` gives clips for a network, uint8 `[3, T+s, S, S, 3]`."""
    return clips_of

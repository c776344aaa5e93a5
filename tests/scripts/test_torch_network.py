"""The PyTorch network that ours is compared with in speed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

from kresp3d.config.schema import ModelConfig
from kresp3d.nn import P3DResNet

torch = pytest.importorskip("torch", reason="PyTorch is for speed comparisons alone: pip install 'kresp3d[bench]'")

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "torch_network.py"


@pytest.fixture(scope="module")
def torch_network():
    spec = importlib.util.spec_from_file_location("torch_network", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def randomised(config: ModelConfig, classes: int) -> keras.Model:
    """A network none of whose weights is at its start, batch norms included."""
    network = P3DResNet(classes=classes, **dict(config))
    random = np.random.default_rng(0)
    # Scales and variances near 1, all else near what it was.
    network.set_weights(
        [
            w * random.uniform(0.5, 1.5, w.shape) + (0 if w.ndim > 1 else random.normal(0, 0.2, w.shape) ** 2)
            for w in network.get_weights()
        ]
    )
    return network


# With 33 pixels a side every strided convolution has an odd side before it, 33, 17, 9, 5.
@pytest.mark.parametrize("pool", [False, True], ids=["table 1", "stem pool"])
def test_gives_the_logits_and_probabilities_of_the_keras_network_with_its_weights(torch_network, pool):
    config = ModelConfig(frames=6, size=33, step=2, width=6, blocks=(2, 1, 1), fc1=12, stem_pool=pool)
    ours = randomised(config, classes=5)
    theirs = torch_network.Network(config, classes=5).eval()
    torch_network.copy_weights(ours, theirs)
    frames = np.random.default_rng(1).integers(0, 256, (3, 8, 33, 33, 3), np.uint8)
    with torch.inference_mode():
        found = theirs(torch.from_numpy(frames)).numpy()
    expected = np.asarray(ours({"frames": frames}, training=False))
    assert np.ptp(expected, axis=0).min() > 1e-3, "the clips should not all score alike"
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(softmax(found), softmax(expected), atol=1e-4)


def softmax(logits: np.ndarray) -> np.ndarray:
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("change", [{"variant": "full3d"}, {"modality": "rgb"}, {"expansion": 4}])
def test_refuses_a_network_that_it_does_not_have(torch_network, change):
    with pytest.raises(ValueError, match="Table 1"):
        torch_network.Network(ModelConfig(**change), classes=5)

import keras
import numpy as np
import pytest

from kresp3d.nn.layers import FeatureResidual, ResidualFrames
from kresp3d.nn.transforms.unsigned import PositiveDifference, unsigned_difference


@pytest.mark.parametrize("layer", [ResidualFrames(1), ResidualFrames(3), FeatureResidual()])
def test_equals_the_absolute_difference_with_parts_that_are_never_negative(layer):
    clip = np.random.default_rng(0).normal(size=(2, 5, 3, 4, 2)).astype("float32")
    seen = {}
    found = unsigned_difference(layer, clip, lambda name, x: seen.setdefault(name, x))
    np.testing.assert_allclose(found, layer(clip), rtol=1e-6)
    rise, fall = (np.asarray(seen[f"{layer.name}_{part}"]) for part in ("rise", "fall"))
    assert rise.min() == fall.min() == 0 and not (rise * fall).any()


def test_does_not_wrap_around_and_is_the_same_after_saving(tmp_path):
    frames = np.array([255, 0, 1, 254], dtype="uint8").reshape(1, 4, 1, 1, 1)
    clip = keras.Input((4, 1, 1, 1), dtype="uint8")
    model = keras.Model(clip, [PositiveDifference(1)(clip), PositiveDifference(1, falls=True)(clip)])
    model.save(tmp_path / "model.keras")
    for network in (model, keras.models.load_model(tmp_path / "model.keras")):
        rise, fall = (np.ravel(part).tolist() for part in network(frames))
        assert (rise, fall) == ([0, 1, 253], [255, 0, 0])

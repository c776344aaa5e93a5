"""The loss against its formula in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kresp3d.training.loss import SmoothedCrossEntropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_the_target_is_spread_over_all_classes(smoothing):
    random = np.random.default_rng(0)
    logits = random.normal(size=(6, 4)).astype(np.float32) * 3
    labels = np.array([0, 1, 2, 3, 3, 1], np.int32)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target = np.full((6, 4), smoothing / 4)
    target[np.arange(6), labels] += 1 - smoothing
    expected = -(target * np.log(scores)).sum(axis=1)
    loss = SmoothedCrossEntropy(smoothing, reduction="none")
    # Keras hands labels over with an axis for one number each.
    np.testing.assert_allclose(loss(labels[:, None], logits).numpy(), expected, rtol=1e-5)
    assert float(SmoothedCrossEntropy(smoothing)(labels, logits)) == pytest.approx(expected.mean(), rel=1e-5)


def test_it_is_restored_from_its_configuration():
    loss = keras.losses.deserialize(keras.losses.serialize(SmoothedCrossEntropy(0.2)))
    assert isinstance(loss, SmoothedCrossEntropy) and loss.label_smoothing == 0.2

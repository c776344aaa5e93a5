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


def test_the_loss_of_a_clip_is_multiplied_by_the_weight_of_its_class():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(6, 3)).astype(np.float32), np.array([0, 1, 2, 2, 1, 1], np.int32)
    plain = SmoothedCrossEntropy(0.1, reduction="none")(labels, logits).numpy()
    weighted = SmoothedCrossEntropy(0.1, [0.5, 2.0, 3.0], reduction="none")(labels, logits).numpy()
    np.testing.assert_allclose(weighted, plain * [0.5, 2, 3, 3, 2, 2], rtol=1e-6)
    # The mean is over clips, not over weights, so that a batch without a class counts for less.
    assert float(SmoothedCrossEntropy(0.1, [0.5, 2.0, 3.0])(labels, logits)) == pytest.approx(weighted.mean(), rel=1e-6)


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0], np.float32)])
def test_it_is_restored_from_its_configuration(weights):
    loss = keras.losses.deserialize(keras.losses.serialize(SmoothedCrossEntropy(0.2, weights)))
    assert isinstance(loss, SmoothedCrossEntropy) and loss.label_smoothing == 0.2
    assert loss.class_weights == (None if weights is None else [1.0, 2.0])

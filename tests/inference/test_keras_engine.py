"""What computes class scores from clips."""

from __future__ import annotations

import keras
import numpy as np

from kresp3d.inference.keras_engine import KerasEngine
from kresp3d.run_folder import RunFolder


def test_scores_are_the_softmax_of_the_network_for_batches_of_any_size(trained_run):
    engine = KerasEngine(RunFolder.open(trained_run))
    clips = np.random.default_rng(0).integers(0, 256, (5, 5, 16, 16, 3), np.uint8)
    logits = np.asarray(keras.models.load_model(trained_run / "model.keras")({"frames": clips}))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = [engine.probabilities(clips[start : start + 2]) for start in (0, 2, 4)]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4, atol=1e-6)
    assert engine._forward.experimental_get_tracing_count() == 1

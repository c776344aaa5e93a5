"""A search space and sweeps that train nothing."""

from __future__ import annotations

import keras_tuner
import pytest

from kresp3d.config.schema import parse_config
from kresp3d.experiments.tuning.journal import Outcome
from kresp3d.experiments.tuning.oracle import with_outcome
from kresp3d.experiments.tuning.space import SearchSpace

#: The ablations of the paper: 4 points of RGB, which has no step, and 2 * 3 * 4 of the others.
ABLATIONS = {
    "model.step": {"choice": [1, 2, 4], "when": {"model.modality": ["residual", "both"]}},
    "model.attention": "bool",
    "model.feature_residual": "bool",
    "model.modality": {"choice": ["rgb", "residual", "both"]},
}


@pytest.fixture
def make_space():
    """`make_space(oracle="grid", space=ABLATIONS, epochs=9, **tune)` makes a search space."""

    def make(oracle="grid", space=ABLATIONS, epochs=9, **tune):
        values = {"tune": {"oracle": oracle, "space": space, **tune}, "training": {"epochs": epochs}}
        return SearchSpace(parse_config(values, "tune.yaml"), "tune.yaml")

    return make


def accuracy(values):
    """A score that follows from the values, so that a sweep has a best point."""
    return 0.3 + 0.2 * values["model.attention"] + 0.05 * values.get("model.step", 0)


@pytest.fixture
def drive():
    """`drive(oracle, worker="tuner0", most=1000, end=True)` runs trials; gives their values by trial."""

    def drive(oracle: keras_tuner.Oracle, worker="tuner0", most=1000, end=True):
        done = {}
        while len(done) < most:
            trial = oracle.create_trial(worker)
            if trial.status != "RUNNING":
                break
            done[trial.trial_id] = dict(trial.hyperparameters.values)
            if end:
                outcome = Outcome("done", (accuracy(trial.hyperparameters.values),), epochs=9, seconds=2.0)
                oracle.end_trial(with_outcome(trial, outcome))
        return done

    return drive

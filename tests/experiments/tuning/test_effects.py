from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.config.schema import parse_config
from kresp3d.experiments.tuning.effects import Trial, is_range, rank, rank_correlation, value_effects
from kresp3d.experiments.tuning.journal import Outcome
from kresp3d.experiments.tuning.space import SearchSpace

SPACE = SearchSpace(
    parse_config(
        {
            "tune": {
                "space": {
                    "model.modality": {"choice": ["rgb", "both"]},
                    "model.step": {"choice": [4, 1, 2], "when": {"model.modality": "both"}},
                    "model.attention": "bool",
                    "training.learning_rate": {"float": [0.01, 0.1]},
                }
            }
        },
        "tune.yaml",
    ),
    "tune.yaml",
)


def trial(score, status="done", **settings):
    keys = {key.rpartition(".")[2]: key for key in SPACE.dimensions}
    scores = () if score is None else (score,)
    return Trial(f"{score}", {keys[name]: value for name, value in settings.items()}, Outcome(status, scores))


def test_of_equals_the_longer_trained_comes_first():
    short, long = (Trial(str(n), {}, Outcome("done", (0.5,), epochs=n)) for n in (3, 9))
    assert rank([short, long]) == rank([long, short]) == [long, short]


def test_the_best_comes_first_and_of_equals_the_earlier():
    first, second = trial(0.5, attention=True), trial(0.5, attention=False)
    others = [trial(0.9, "stopped"), trial(None, "failed"), Trial("running", {}, None), trial(0.7)]
    ranked = rank([first, *others, second])
    assert [t.score for t in ranked] == [0.7, 0.5, 0.5]
    assert ranked[1] is first and ranked[2] is second


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(-0.5, 0.5))
def test_an_effect_that_is_added_everywhere_is_found_whatever_the_rest(scores, effect):
    trials = [
        trial(other + effect * attention, modality="both", step=step, attention=attention)
        for (step, other), attention in itertools.product(zip([1, 2, 4], scores, strict=True), [False, True])
    ]
    off, on = value_effects("model.attention", trials, SPACE)
    assert (off.value, on.value, off.trials, on.trials) == (False, True, 3, 3)
    assert off.differences == () and len(on.differences) == 3
    assert on.difference == pytest.approx(effect) and on.difference_spread == pytest.approx(0, abs=1e-9)


def test_keys_that_depend_on_a_key_are_averaged_when_it_is_compared():
    trials = [
        trial(0.4, modality="rgb", attention=True),
        trial(0.5, modality="both", attention=True, step=1),
        trial(0.7, modality="both", attention=True, step=2),
        # No RGB with the same attention: compared with nothing.
        trial(0.1, modality="both", attention=False, step=1),
    ]
    rgb, both = value_effects("model.modality", trials, SPACE)
    assert (rgb.mean, rgb.spread, both.trials) == (0.4, None, 3)
    assert both.differences == (pytest.approx(0.6 - 0.4),)


def test_values_stand_in_the_order_of_the_choice():
    trials = [trial(0.1, modality="both", step=step) for step in (1, 2, 4)]
    assert [effect.value for effect in value_effects("model.step", trials, SPACE)] == [4, 1, 2]


def test_trials_in_which_a_key_did_not_matter_are_left_out():
    trials = [trial(0.1, modality="both", step=1), trial(0.9, modality="rgb")]
    [effect] = value_effects("model.step", trials, SPACE)
    assert (effect.value, effect.mean, effect.trials) == (1, 0.1, 1)


def test_a_range_has_a_rank_correlation():
    rates = np.linspace(0.01, 0.1, 5)
    assert is_range("training.learning_rate", SPACE) and not is_range("model.step", SPACE)
    trials = [trial(float(rate) ** 2, learning_rate=float(rate)) for rate in rates]
    assert rank_correlation("training.learning_rate", trials) == pytest.approx(1)
    assert rank_correlation("training.learning_rate", trials[:2]) is None
    assert rank_correlation("training.learning_rate", [trial(0.5, learning_rate=float(r)) for r in rates]) is None

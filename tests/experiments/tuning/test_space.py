from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.config.schema import parse_config
from kresp3d.experiments.tuning.space import SearchSpace, show
from kresp3d.system.errors import UsageError

plain = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0.01, 0.99) | st.sampled_from(["a", "no", "1"])


def space_of(space, where="tune.yaml", **values):
    return SearchSpace(parse_config({"tune": {"space": space}, **values}, where), where)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "no tune.space"),
        ({"model.stepp": "bool"}, "did you mean 'model.step'"),
        ({"model": "bool"}, "unknown key 'model'"),
        ({"seed": {"int": [0, 3]}}, "tune.seeds"),
        ({"evaluation.clips": {"int": [1, 3]}}, "measured alike"),
        ({"tune.trials": {"int": [1, 3]}}, "does not tune itself"),
        ({"data.split_seed": {"int": [0, 3]}}, "same videos"),
        ({"data.videos": {"choice": ["a", "b"]}}, "same videos"),
        ({"model.width": {"int": [0, 8]}}, "model.width=0"),
        ({"training.optimizer": {"choice": ["sgd", "adam"]}}, "training.optimizer=adam"),
        ({"model.step": {"choice": [1, 2], "when": {"model.modality": "both"}}}, "does not vary"),
        (
            {"model.step": {"choice": [1, 2], "when": {"model.attention": "yes"}}, "model.attention": "bool"},
            "none of [False, True]",
        ),
        (
            {"model.step": {"choice": [1, 2], "when": {"model.width": 8}}, "model.width": {"int": [4, 8]}},
            "choice or bool",
        ),
        (
            {
                "model.step": {"choice": [1, 2], "when": {"model.width": 8}},
                "model.width": {"choice": [4, 8], "when": {"model.step": 1}},
            },
            "circle",
        ),
    ],
)
def test_a_space_that_cannot_be_is_refused_before_the_first_trial(space, words):
    with pytest.raises(UsageError) as error:
        space_of(space)
    assert words in str(error.value) and "tune.yaml" in str(error.value)


def test_a_key_comes_after_those_that_it_depends_on(make_space):
    order = make_space().order
    assert sorted(order) == sorted(make_space().dimensions)
    assert order.index("model.modality") < order.index("model.step")
    assert make_space().depend_on("model.modality") == {"model.step"}
    assert make_space().depend_on("model.attention") == set()


def test_a_trial_trains_with_its_settings_and_is_measured_on_the_validation_videos(make_space):
    space = make_space(seeds=2)
    config = space.config({"model.attention": False, "model.step": 4}, seed=3)
    assert (config.model.attention, config.model.step, config.model.modality) == (False, 4, "both")
    assert (config.seed, config.evaluation.split, config.tune.space, config.tune.seeds) == (3, "validation", {}, 1)


@given(st.lists(plain, min_size=2, max_size=6))
def test_any_choice_survives_the_way_through_keras_tuner(choices):
    space = space_of({"model.attention": "bool"})
    # Another field of the same space, since a configuration would not take just any value.
    object.__setattr__(space, "base", parse_config({"tune": {"space": {"x": {"choice": choices}}}}, "tune.yaml"))
    encoded = [space.encode("x", value) for value in choices]
    assert len({type(value) for value in encoded}) == 1 and isinstance(encoded[0], int | float | str)
    assert [space.decode({"x": value, "tuner/epochs": 3}) for value in encoded] == [{"x": value} for value in choices]


def test_lists_and_null_may_be_chosen():
    space = space_of({"model.blocks": {"choice": [[1, 1], [2, 2]]}, "training.ema": {"choice": [None, 0.99]}})
    values = {key: space.encode(key, space.dimensions[key].choice[0]) for key in space.dimensions}
    assert all(isinstance(value, str) for value in values.values())
    config = space.config(space.decode(values), seed=0)
    assert config.model.blocks == (1, 1) and config.training.ema is None


def test_the_digest_is_of_what_decides_results_alone():
    space = {"model.attention": "bool"}
    one = space_of(space, data={"cache": "/here", "workers": 1})
    other = space_of(space, where="elsewhere.yaml", data={"cache": "/there", "workers": 8})
    assert one.digest == other.digest != space_of(space, seed=1).digest


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (None, "null"), (0.000123456, "0.0001235"), ([1, 2.5], "[1, 2.5]"), ("a", "a")]
)
def test_a_setting_is_shown_as_yaml_has_it(value, text):
    assert show(value) == text

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from kresp3d.config.schema import load_config, parse_config
from kresp3d.system.errors import UsageError
from kresp3d.training.class_weights import class_weights

CLASSES = ("fall", "run", "walk")


def weights_of(wanted, labels, balanced=False):
    values = {"training": {"class_weights": wanted}, "clip": {"balanced": balanced}}
    return class_weights(parse_config(values, "the test"), labels, CLASSES)


def test_none_leaves_the_loss_alone():
    assert weights_of("none", ["fall", "walk"]) is None


@given(st.lists(st.sampled_from(CLASSES), min_size=1).filter(lambda labels: set(labels) == set(CLASSES)))
def test_balanced_weights_are_those_of_scikit_learn(labels):
    expected = compute_class_weight("balanced", classes=np.array(CLASSES), y=np.array(labels))
    np.testing.assert_allclose(weights_of("balanced", labels), expected, rtol=1e-6)


@given(st.lists(st.sampled_from(CLASSES), min_size=1), st.booleans())
def test_the_mean_over_the_training_clips_is_one(labels, balanced):
    found = weights_of({"fall": 5}, labels, balanced)
    drawn = sorted(set(labels)) if balanced else labels
    assert np.mean([found[CLASSES.index(label)] for label in drawn]) == pytest.approx(1, rel=1e-5)
    assert found[0] / found[1] == pytest.approx(5)


def test_a_class_without_training_videos_does_no_harm():
    np.testing.assert_allclose(weights_of("balanced", ["fall"] * 3 + ["run"])[:2], [2 / 3, 2])


def test_an_unknown_class_is_named():
    with pytest.raises(UsageError, match="there is no class 'fly'; the classes are fall, run, walk"):
        weights_of({"fly": 2}, ["fall"])


@pytest.mark.parametrize(
    "wanted",
    [
        *("auto", None, 3, ["fall"], {"fall": 0}, {"fall": -1}, {"fall": "much"}, {True: 2}),
        *({"fall": float("inf")}, {"fall": float("nan")}, {"fall": 1e7}, {"fall": 1e-7}),
    ],
)
def test_what_is_no_weight_is_refused_in_one_sentence(wanted):
    with pytest.raises(UsageError) as caught:
        weights_of(wanted, ["fall"])
    assert str(caught.value).startswith("the test: 'training.class_weights': expected none, balanced, or")
    # None of the words that a union of types is checked by.
    assert not {"literal", "constrained", "dictionary"} & set(str(caught.value).split("'"))
    assert str(caught.value).count("training.class_weights") == 1


def test_classes_whose_names_are_numbers_have_weights():
    config = load_config(None, ["training.class_weights={1: 3, '02': 4}"])
    assert config.training.class_weights == {"1": 3, "02": 4}
    found = class_weights(config, ["1", "02", "7"], ("02", "1", "7"))
    np.testing.assert_allclose(found, np.array([4, 3, 1]) * 3 / 8, rtol=1e-6)


def test_the_largest_and_the_least_weight_are_finite_together():
    found = weights_of({"fall": 1e6, "run": 1e-6}, ["fall", "run", "walk"])
    assert np.isfinite(found).all() and (found > 0).all()


def test_balancing_twice_is_refused():
    with pytest.raises(UsageError, match=r"clip\.balanced and training\.class_weights"):
        weights_of("balanced", ["fall"], balanced=True)

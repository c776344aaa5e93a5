from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from kresp3d.config.schema import parse_config
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


@pytest.mark.parametrize("wanted", ["auto", {"fall": 0}, {"fall": -1}, {"fall": "much"}, 3])
def test_what_is_no_weight_is_refused(wanted):
    with pytest.raises(UsageError, match=r"training\.class_weights"):
        weights_of(wanted, ["fall"])


def test_balancing_twice_is_refused():
    with pytest.raises(UsageError, match=r"clip\.balanced and training\.class_weights"):
        weights_of("balanced", ["fall"], balanced=True)

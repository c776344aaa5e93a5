from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from kresp3d.experiments.reproduction.claims import Judgement, compare, detectable_difference, judge
from kresp3d.experiments.reproduction.tables import CLAIMS

#: Differences of two shares of 150 videos.
differences = st.lists(st.integers(-150, 150).map(lambda n: n / 150), min_size=2, max_size=8)


@given(differences)
def test_p_and_interval_are_those_of_scipys_paired_t_test(values):
    assume(np.ptp(values) > 1e-6)
    found = compare("both", "rgb", values)
    expected = stats.ttest_rel(values, np.zeros(len(values)), alternative="greater")
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)
    interval = stats.ttest_1samp(values, 0.0).confidence_interval(0.90)
    assert found.interval == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx(np.mean(values)) and found.spread == pytest.approx(np.std(values, ddof=1))
    opposite = stats.ttest_rel(values, np.zeros(len(values)), alternative="less")
    expected_verdict = (
        "supported" if expected.pvalue < 0.05 else "not supported" if opposite.pvalue < 0.05 else "undecided"
    )
    assert found.verdict == expected_verdict and found.reason == ""


@given(differences)
def test_what_speaks_for_one_order_speaks_against_the_other(values):
    mirrored = {"supported": "not supported", "not supported": "supported", "undecided": "undecided"}
    one, other = compare("both", "rgb", values), compare("rgb", "both", [-value for value in values])
    assert other.verdict == mirrored[one.verdict]


def test_a_known_case():
    # Student's own sleep data (1908): ten pairs, t = 4.0621 with 9 degrees of freedom, two-sided p = 0.002833.
    sleep = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    found = compare("both", "rgb", sleep)
    assert found.p == pytest.approx(0.002833 / 2, rel=1e-3)
    assert found.interval == pytest.approx((0.8670, 2.2930), abs=1e-4)


@pytest.mark.parametrize(("values", "reason"), [([], "no seed is finished in both"), ([0.2], "one seed")])
def test_fewer_than_two_seeds_decide_nothing(values, reason):
    found = compare("both", "rgb", values)
    assert (found.verdict, found.reason, found.p, found.interval) == ("undecided", reason, None, None)


@pytest.mark.parametrize(
    ("values", "p", "verdict"),
    [
        ([0.1] * 3, 1 / 8, "undecided"),
        # The last digits of such differences are noise, on which a t-test would put t = 1e15.
        ([0.8 - 0.7, 0.9 - 0.8, 0.4 - 0.3], 1 / 8, "undecided"),
        ([0.1] * 5, 1 / 32, "supported"),
        ([-0.1] * 5, 1.0, "not supported"),
        ([0.0] * 9, 1.0, "undecided"),
    ],
)
def test_equal_differences_are_judged_by_their_signs(values, p, verdict):
    found = compare("both", "rgb", values)
    assert (found.p, found.verdict, found.interval, found.detectable) == (p, verdict, None, None)
    assert "seed" in found.reason


@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_detectable_difference_is_detected_in_four_of_five_cases(count):
    random = np.random.default_rng(0)
    smallest = detectable_difference(0.02, count)
    samples = random.normal(smallest, 0.02, (20000, count))
    p = stats.ttest_1samp(samples, 0.0, axis=1, alternative="greater").pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.02)


def test_pairs_are_those_of_the_same_seed():
    scores = {"both": {0: 0.9, 1: 0.8, 2: 0.7}, "full3d": {1: 0.7, 2: 0.65, 5: 0.1}}
    [claim] = [found for found in judge(scores, [2]) if found.claim.words == "pseudo-3D ≥ full 3D"]
    assert claim.comparisons[0].differences == pytest.approx((0.1, 0.05))


def scores(**means):
    noise = {0: -0.01, 1: 0.012, 2: 0.001}
    return {
        row: {seed: mean + value * index for seed, value in noise.items()}
        for index, (row, mean) in enumerate(means.items(), 1)
    }


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ({"rgb": 0.5, "residual": 0.7, "both": 0.9}, "supported"),
        ({"rgb": 0.5, "residual": 0.9, "both": 0.7}, "not supported"),
        ({"rgb": 0.5, "residual": 0.7, "both": 0.701}, "undecided"),
        ({"rgb": 0.7, "residual": 0.5, "both": 0.501}, "not supported"),
        ({"residual": 0.7, "both": 0.9}, "undecided"),
    ],
)
def test_a_claim_is_as_good_as_its_comparisons(means, verdict):
    [judgement] = [found for found in judge(scores(**means), [2]) if "residual >" in found.claim.words]
    assert judgement.verdict == verdict


def test_only_claims_of_the_tables_are_judged():
    assert [found.claim for found in judge({}, [3, 4])] == [claim for claim in CLAIMS if claim.table > 2]
    assert all(isinstance(found, Judgement) and found.verdict == "undecided" for found in judge({}, [2]))


def test_the_papers_own_differences_stand_beside():
    assert compare("both", "rgb", []).paper == pytest.approx(0.052)
    assert compare("residual_s2", "residual_s4", []).paper == pytest.approx(0.025)

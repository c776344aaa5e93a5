"""Whether the paper's claims hold on the data at hand: paired one-sided t-tests over seeds.

Two rows are compared by the differences of their scores with the same seed. `scipy` is imported in the functions, since
it takes a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from kresp3d.experiments.reproduction.tables import CLAIMS, Claim, paper_top1

Verdict = Literal["supported", "not supported", "undecided"]

#: Probability of seeing at least such a difference by chance, below which a comparison is decided.
LEVEL = 0.05
#: Chance with which a detectable difference is detected.
POWER = 0.8
#: Differences of shares that are closer than this are equal; they come from counts of videos.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Comparison:
    """Two rows, of which the paper says that the first is better. All differences are first minus second, shares."""

    better: str
    worse: str
    differences: tuple[float, ...]
    """Of the video top-1 with the same seed, by seed."""
    mean: float | None
    interval: tuple[float, float] | None
    """90 % confidence interval of the mean, which leaves out 0 just where the one-sided test decides; `None` where the
    differences have no spread to take it from."""
    p: float | None
    """Probability, were there no difference, of one at least as large as this in the claimed direction."""
    detectable: float | None
    """The smallest true difference that so many seeds with such a spread detect in four of five cases."""
    verdict: Verdict
    reason: str = ""
    """Where the t-test was not what decided: why."""

    @property
    def paper(self) -> float:
        """The paper's difference."""
        return paper_top1(self.better) - paper_top1(self.worse)

    @property
    def spread(self) -> float | None:
        """Standard deviation of the differences."""
        return stdev(self.differences) if len(self.differences) > 1 else None


@dataclass(frozen=True)
class Judgement:
    """A claim with its comparisons."""

    claim: Claim
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> Verdict:
        """Supported if all comparisons are, not supported if any is not, else undecided."""
        verdicts = {comparison.verdict for comparison in self.comparisons}
        if "not supported" in verdicts:
            return "not supported"
        return "supported" if verdicts == {"supported"} else "undecided"


def judge(scores: Mapping[str, Mapping[int, float]], tables: Sequence[int]) -> list[Judgement]:
    """Judge the claims of some tables.

    Args:
        scores: Row -> seed -> video top-1, a share; trainings that are not finished are left out.
        tables: Numbers of tables.
    """
    return [
        Judgement(claim, tuple(_compare(scores, better, worse) for better, worse in claim.comparisons))
        for claim in CLAIMS
        if claim.table in tables
    ]


def _compare(scores: Mapping[str, Mapping[int, float]], better: str, worse: str) -> Comparison:
    mine, yours = scores.get(better, {}), scores.get(worse, {})
    return compare(better, worse, [mine[seed] - yours[seed] for seed in sorted(mine.keys() & yours.keys())])


def compare(better: str, worse: str, differences: Sequence[float]) -> Comparison:
    """Test whether a row is better than another.

    Fewer than two seeds decide nothing, since nothing is known of the spread. Where all differences are the same, which
    happens with few test videos and few seeds, the t-test would be certain of whatever it sees; the sign test takes its
    place, by which as many equal signs come with a chance of 2⁻ⁿ.

    Args:
        better: The row that the paper calls better.
        worse: The other one.
        differences: Their scores' differences, shares, one for each seed that both were trained with.
    """
    count = len(differences)
    mean = fmean(differences) if count else None
    if mean is None or count < 2:
        reason = "one seed" if count else "no seed is finished in both"
        return Comparison(better, worse, tuple(differences), mean, None, None, None, "undecided", reason)
    if max(differences) - min(differences) < _EQUAL:
        chance = 1.0 if abs(mean) < _EQUAL else 0.5**count
        p = chance if mean > -_EQUAL else 1.0
        verdict = _decide(mean, chance)
        reason = "no difference with any seed" if chance == 1.0 else "the same difference with every seed: sign test"
        return Comparison(better, worse, tuple(differences), mean, None, p, None, verdict, reason)

    from scipy.stats import t

    error = stdev(differences) / math.sqrt(count)
    p = float(t.sf(mean / error, count - 1))
    half = float(t.isf(LEVEL, count - 1)) * error
    return Comparison(
        better,
        worse,
        tuple(differences),
        mean,
        (mean - half, mean + half),
        p,
        detectable_difference(stdev(differences), count),
        _decide(mean, min(p, 1 - p)),
    )


def _decide(mean: float, chance: float) -> Verdict:
    if chance >= LEVEL:
        return "undecided"
    return "supported" if mean > 0 else "not supported"


def detectable_difference(spread: float, count: int) -> float:
    """The smallest true difference that a paired one-sided t-test finds with a chance of `POWER`.

    Args:
        spread: Standard deviation of the differences.
        count: Number of pairs, at least two.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    freedom = count - 1
    threshold = float(t.isf(LEVEL, freedom))
    # Of the noncentral t distribution with noncentrality difference / (spread / sqrt(count)).
    shift = brentq(lambda shift: float(nct.sf(threshold, freedom, shift)) - POWER, 0.0, 20 * threshold)
    return float(shift) * spread / math.sqrt(count)

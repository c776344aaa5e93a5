"""Whether a network is any good: one sentence, from a comparison with simple baselines on the same videos.

"Better" and "worse" are said only where chance would hardly give such a difference. Two tests have to agree:

- the exact McNemar test: of the videos that just one of the two recognises, the network has far more (or fewer) than
  half (p < 0.05, two-sided);
- where groups are known, the 95 % interval of the difference, which goes by how much groups differ, leaves out 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kresp3d.datasets.splits import count
from kresp3d.evaluation.baselines import NEIGHBOURS, Baselines
from kresp3d.evaluation.groups import FEWEST_GROUPS, difference_interval
from kresp3d.system.text import printable

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Outcome = Literal["better", "worse", "undecided"]

#: What is called significant.
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """A network beside a baseline, on the same videos."""

    baseline: Literal["chance", "majority", "neighbours"]
    title: str
    """What a sentence calls the baseline."""
    accuracy: float
    """Of the baseline, from 0 to 1."""
    difference: float
    """The network's accuracy less the baseline's, from -1 to 1."""
    p_value: float
    """Of the exact test that takes videos for independent."""
    interval: tuple[float, float] | None
    """95 % interval of the difference that respects groups; `None` where there are none, too few, or no spread."""
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a network's accuracy."""

    sentence: str
    better: bool | None
    """Whether it is better than each of the simple baselines; `None` where all videos are of one class."""
    comparisons: tuple[Comparison, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `metrics.json`."""
        rows = [asdict(each) for each in self.comparisons]
        for row in rows:
            row["interval"] = None if row["interval"] is None else list(row["interval"])
        return {"sentence": self.sentence, "better": self.better, "comparisons": rows}


def make_verdict(
    predicted: IntArray,
    labels: IntArray,
    classes: Sequence[str],
    baselines: Baselines,
    units: IntArray | None = None,
    *,
    on_training_videos: bool = False,
) -> Verdict:
    """Compare a network with the baselines, and say in a sentence how it does.

    Args:
        predicted: The class index that the network gives each video `[V]`.
        labels: The true one `[V]`.
        classes: The names of the `C` classes.
        baselines: What the baselines get right of the same videos.
        units: The group of each video as a number `[V]`; `None` where no groups are known.
        on_training_videos: Whether the network was trained on these videos, which the sentence then says.
    """
    if len(classes) == 1:
        return Verdict("There is one class, so there is nothing to tell apart.", None, ())
    hits = predicted == labels
    majority = f"always saying '{printable(classes[baselines.majority])}'"
    chance = compare_with_chance(hits, baselines.chance, units)
    rest = [compare(hits, baselines.majority_hits, units, baseline="majority", title=majority)]
    if baselines.neighbours_hits is not None:
        title = f"{NEIGHBOURS} nearest neighbours"
        rest.append(compare(hits, baselines.neighbours_hits, units, baseline="neighbours", title=title))
    comparisons = (chance, *rest)
    if len(set(labels.tolist())) == 1:
        only = printable(classes[int(labels[0])])
        return Verdict(
            f"All these videos are of '{only}', and the network says so of {int(hits.sum())} of {len(hits)}: that does "
            "not show whether it tells classes apart.",
            None,
            comparisons,
        )
    subject = "On videos that it was trained on, the network" if on_training_videos else "The network"
    beats_all = all(each.outcome == "better" for each in comparisons)
    if len(set(predicted.tolist())) > 1:
        said = _praise([*rest, chance]) if beats_all else _criticism(chance, rest, len(hits))
        number = len(hits) if units is None else int(units.max()) + 1
        if beats_all and units is not None and number < FEWEST_GROUPS:
            few = "one group" if number == 1 else f"only {number} groups"
            said += f", but these videos are of {few}, too few to speak for others"
        return Verdict(f"{subject} is {said}.", beats_all, comparisons)
    always = f"says '{printable(classes[int(predicted[0])])}' of every video"
    if beats_all:
        # Few training videos are of that class, or it would be the majority class, and many of these.
        right = f"it is right for {100 * hits.mean():.1f} % because so many of these videos are of that class"
        return Verdict(f"{subject} {always}, so it tells no classes apart: {right}.", False, comparisons)
    said = _criticism(chance, rest, len(hits))
    return Verdict(f"{subject} is {said}. It {always}.", False, comparisons)


def compare(
    hits: BoolArray,
    others: BoolArray,
    units: IntArray | None,
    *,
    baseline: Literal["majority", "neighbours"],
    title: str,
) -> Comparison:
    """Compare which videos two classifiers recognise.

    Args:
        hits: Those of the network `[V]`.
        others: Those of the baseline `[V]`.
        units: As for `make_verdict`.
        baseline: Which one it is.
        title: What a sentence calls it.
    """
    from scipy.stats import binomtest

    gained, lost = int((hits & ~others).sum()), int((~hits & others).sum())
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    differences = hits.astype(np.int64) - others
    interval = None if units is None else difference_interval(differences, units)
    difference = float(differences.mean())
    outcome = _outcome(difference, p_value, interval)
    return Comparison(baseline, title, float(others.mean()), difference, p_value, interval, outcome)


def compare_with_chance(hits: BoolArray, chance: float, units: IntArray | None) -> Comparison:
    """Compare with drawing a class by lot: an exact binomial test, and the interval that respects groups."""
    from scipy.stats import binomtest

    p_value = float(binomtest(int(hits.sum()), len(hits), chance).pvalue)
    interval = None if units is None else difference_interval(hits - chance, units)
    difference = float(hits.mean()) - chance
    return Comparison(
        "chance", "chance", chance, difference, p_value, interval, _outcome(difference, p_value, interval)
    )


def _outcome(difference: float, p_value: float, interval: tuple[float, float] | None) -> Outcome:
    if p_value >= LEVEL or (interval is not None and interval[0] <= 0 <= interval[1]):
        return "undecided"
    return "better" if difference > 0 else "worse"


def _praise(comparisons: Sequence[Comparison]) -> str:
    best = max(comparisons, key=lambda each: each.accuracy)
    return f"{100 * best.difference:.1f} points better than the best simple baseline, {_named(best)}"


def _criticism(chance: Comparison, comparisons: Sequence[Comparison], videos: int) -> str:
    unbeaten = [each for each in (chance, *comparisons) if each.outcome != "better"]
    said = _joined(unbeaten)
    if chance.outcome == "better":
        said = f"better than {_named(chance)}, but {said}"
    if all(each.outcome == "undecided" and each.difference > 0 for each in unbeaten):
        said += f": {count(videos, 'video')} cannot tell them apart"
    return said


def _joined(comparisons: Sequence[Comparison]) -> str:
    """Words such as "not better than A or B and worse than C"."""
    names: dict[str, list[str]] = {}
    for each in sorted(comparisons, key=lambda each: -each.accuracy):
        names.setdefault(_degree(each), []).append(_named(each))
    return " and ".join(f"{degree} {' or '.join(those)}" for degree, those in names.items())


def _degree(comparison: Comparison) -> str:
    if comparison.outcome == "undecided":
        return "not clearly better than" if comparison.difference > 0 else "not better than"
    return f"{comparison.outcome} than"


def _named(comparison: Comparison) -> str:
    return f"{comparison.title} ({100 * comparison.accuracy:.1f} %)"

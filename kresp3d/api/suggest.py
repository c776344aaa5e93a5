"""What a training of some videos would be, found out without one: what `kresp3d suggest` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from kresp3d.config.schema import Config
from kresp3d.datasets.advice import advise
from kresp3d.datasets.inspect import Bad, Facts, read_facts
from kresp3d.runs.run_folder import settle_precision
from kresp3d.system.errors import KrespError
from kresp3d.training.plan import Choice, Plan, Videos, doubts, settle
from kresp3d.training.preparation import split_settled
from kresp3d.video.workers import Progress


@dataclass(frozen=True)
class Suggestion:
    """What a training would be, and what would help.

    Args:
        plan: The settings, and why.
        classes: The classes.
        groups: Groups to learn from; 0 where they are not known.
        doubts: What a person should know before the training.
        advice: What would help, what helps most first.
        bad: Videos that cannot be opened.
        memory: Bytes that it takes at its peak, and those that are free, `None` where that is not known; or `None`
            where it was not reckoned.
    """

    plan: Plan
    classes: tuple[str, ...]
    groups: int
    doubts: tuple[str, ...]
    advice: tuple[str, ...]
    bad: tuple[Bad, ...]
    memory: tuple[int, int | None] | None = None


def suggest(config: Config, *, measure: bool = True, progress: Progress | None = None) -> Suggestion:
    """Find out what a training with a configuration would be, from the headers of the videos.

    Nothing is prepared or written.

    Args:
        config: May have keys at `auto`.
        measure: Whether a network is trained for a moment, to know how fast this machine is, and its memory is
            reckoned. That imports TensorFlow.
        progress: Told how many videos were read, and of how many.

    Raises:
        KrespError: If there are no training videos, or as the reading of a catalog.
    """
    config, first = split_settled(settle_precision(config))
    return suggested(config, *read_facts(config.data, progress=progress), first=first, measure=measure)


def suggested(
    config: Config,
    facts: Sequence[Facts],
    classes: Iterable[str],
    bad: Sequence[Bad] = (),
    *,
    first: Sequence[Choice] = (),
    measure: bool = False,
) -> Suggestion:
    """The same of videos that were read already, with what was settled before; see `suggest`."""
    classes = tuple(classes)
    train = [fact for fact in facts if fact.split == "train"]
    if not train:
        raise KrespError(f"{config.data.videos} has no training videos; check how the data is split")
    lengths = tuple(fact.frames for fact in train if fact.frames is not None)
    if not lengths:
        raise KrespError("no video says in its header how long it is; `kresp3d train` decodes them, and plans then")
    # Those whose length the header does not say count as one in the middle.
    middle = sorted(lengths)[len(lengths) // 2]
    frames = lengths + (middle,) * (len(train) - len(lengths))
    videos = Videos(frames, sum(fact.split == "validation" for fact in facts))
    plan = settle(config, videos, _rate(len(classes)) if measure else None, first)
    return Suggestion(
        plan,
        classes,
        len({fact.group for fact in train} - {None}),
        tuple(doubts(plan)),
        tuple(advise(facts, classes)),
        tuple(bad),
        _memory(plan.config, train, len(classes)) if measure else None,
    )


def _rate(classes: int) -> Callable[[Config], float]:
    def measure(config: Config) -> float:
        from kresp3d.training.rate import measure_clips_per_second

        return measure_clips_per_second(config, classes)

    return measure


def _memory(config: Config, train: Iterable[Facts], classes: int) -> tuple[int, int | None]:
    from kresp3d.system.machine import memory
    from kresp3d.training.memory import reckon_memory

    decoded = sum(_decoded(fact, config) for fact in train)
    return reckon_memory(config, classes, decoded).peak, memory()[1]


def _decoded(fact: Facts, config: Config) -> int:
    """Bytes of a video's stored frames, decoded."""
    short = min(fact.height, fact.width)
    scale = min(1.0, config.data.short_side / short)
    return (fact.frames or 0) * ceil(fact.height * scale) * ceil(fact.width * scale) * 3

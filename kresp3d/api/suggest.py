"""What a training of some videos would be, found out without one: what `kresp3d suggest` does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from kresp3d.clips.sampling import clip_span
from kresp3d.config.schema import Config
from kresp3d.datasets.advice import advise
from kresp3d.datasets.inspect import Bad, Facts, read_facts
from kresp3d.datasets.splits import count
from kresp3d.runs.run_folder import settle_precision
from kresp3d.system.errors import KrespError
from kresp3d.training.plan import FRAMES, Choice, Plan, Videos, doubts, settle
from kresp3d.training.preparation import split_settled
from kresp3d.video.workers import Progress


@dataclass(frozen=True)
class Machine:
    """What a training takes on this machine.

    Args:
        needed: Bytes of memory at its peak.
        there: Bytes that are available; `None` where that is not known, as it is of a GPU.
        verdict: Whether it fits, by what is known.
        helps: What to lower where it does not fit, or hardly.
        rate: Training clips a second, measured now; `None` where it was not tried since it would not fit.
    """

    needed: int
    there: int | None
    verdict: Literal["fits", "close", "too large"]
    helps: str
    rate: float | None


@dataclass(frozen=True)
class Suggestion:
    """What a training would be, and what would help.

    Args:
        plan: The settings, and why.
        classes: The classes.
        videos: Number of training and of test videos.
        groups: Groups to learn from; 0 where they are not known.
        doubts: What a person should know before the training.
        advice: What would help, what helps most first.
        bad: Videos that cannot be opened.
        machine: What it takes; `None` where nobody looked.
    """

    plan: Plan
    classes: tuple[str, ...]
    videos: tuple[int, int]
    groups: int
    doubts: tuple[str, ...]
    advice: tuple[str, ...]
    bad: tuple[Bad, ...]
    machine: Machine | None = None


def suggest(config: Config, *, measure: bool = True, progress: Progress | None = None) -> Suggestion:
    """Find out what a training with a configuration would be, from the headers of the videos.

    Nothing is prepared or written.

    Args:
        config: May have keys at `auto`.
        measure: Whether it is looked at what the training takes on this machine: the memory is reckoned, and where that
            will do, a network is trained for a moment. That imports TensorFlow. Not done for several hosts, of which
            this one would wait for the others.
        progress: Told how many videos were read, and of how many.

    Raises:
        KrespError: If there are no training videos, or as the reading of a catalog.
    """
    config, first = split_settled(config)
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
    decoded = sum(_decoded(fact, config) for fact in train)
    seen: list[Machine] = []

    def look(planned: Config) -> float | None:
        seen.append(_look(planned, len(classes), decoded))
        return seen[-1].rate

    measure = measure and config.training.strategy != "multi_worker"
    plan = settle(config, videos, look if measure else None, first)
    if measure and not seen:
        # Where the epochs are given, nobody had to ask.
        plan = replace(plan, rate=look(plan.config))
    return Suggestion(
        plan,
        classes,
        (len(train), sum(fact.split == "test" for fact in facts)),
        len({fact.group for fact in train} - {None}),
        (*doubts(plan), *_many_bad(config, len(facts), len(bad))),
        tuple(advise(facts, classes, short=_short(config, plan))),
        tuple(bad),
        seen[0] if seen else None,
    )


def _look(config: Config, classes: int, decoded: int) -> Machine:
    """See what a training takes; its speed is measured only where its memory will do."""
    # Devices cannot be made once TensorFlow has computed something.
    from kresp3d.training.strategy import make_strategy

    config = settle_precision(config)
    strategy = make_strategy(config.training)
    from kresp3d.training.memory import available, reckon_memory, what_helps
    from kresp3d.training.rate import measure_clips_per_second

    needed, there = reckon_memory(config, classes, decoded), available()
    verdict = "fits" if there is None else needed.verdict(there)
    helps = "" if there is None or verdict == "fits" else what_helps(config, needed, there)
    is_tried = verdict != "too large" or not config.training.check_memory
    rate = measure_clips_per_second(config, classes, strategy) if is_tried else None
    return Machine(needed.peak, there, verdict, helps, rate)


def _decoded(fact: Facts, config: Config) -> int:
    """Bytes of a video's stored frames, decoded."""
    short = min(fact.height, fact.width)
    scale = min(1.0, config.data.short_side / short)
    return (fact.frames or 0) * ceil(fact.height * scale) * ceil(fact.width * scale) * 3


def _many_bad(config: Config, good: int, bad: int) -> list[str]:
    total = good + bad
    if bad <= config.data.max_bad * total:
        return []
    return [
        f"{bad} of {count(total, 'video')} cannot be opened, and data.max_bad allows {config.data.max_bad:.2%}: "
        "`kresp3d train` will not begin; mend or remove them"
    ]


def _short(config: Config, plan: Plan) -> int | None:
    """Stored frames that a video should have, where clips were made shorter for want of them."""
    is_shorter = "model.frames" in config.auto and plan.config.model.frames < FRAMES
    return clip_span(FRAMES, plan.config.model.step, 1) if is_shorter else None

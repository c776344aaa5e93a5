"""What `auto` in a configuration comes to, once the videos are known.

A training is planned in steps. Few videos are seen more often than many, so that 30 videos and 3,000 both end with a
network that has learned what it can; an epoch is a stretch of the training between two validations, and no more.
Nothing here needs TensorFlow.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from kresp3d.clips.sampling import clip_span, steps_per_epoch
from kresp3d.config.schema import AUTO, Config, override_config, value_of
from kresp3d.datasets.auto_split import ENOUGH_TO_CHOOSE_BY, VALIDATION
from kresp3d.datasets.splits import count
from kresp3d.records.index import Records
from kresp3d.system.errors import KrespError
from kresp3d.system.text import clock

logger = logging.getLogger("kresp3d")

#: Least clips of a training.
LEAST_CLIPS = 16_000
#: Clips of each video in a training, where that gives more of them.
CLIPS_OF_A_VIDEO = 160
#: Steps of an epoch, at least; each epoch ends with a validation and a checkpoint.
STEPS_OF_AN_EPOCH = 40
#: Fewer clips of each video than this, and the network has hardly seen it.
FEW_CLIPS_OF_A_VIDEO = 10
#: Frames of each stream, where videos are long enough.
FRAMES = 16
#: Largest stride. A clip of `FRAMES` then spans 2.1 s of video at 15 frames a second.
MOST_STRIDE = 2
#: Highest decay of the moving average, and the share of a training that it may reach back.
EMA = 0.99
EMA_SHARE = 0.1
#: Share of the epochs in which the learning rate rises.
WARMUP_SHARE = 0.05
#: What a validation clip costs, in training clips: no gradient is taken.
VALIDATION_CLIP = 1 / 3


@dataclass(frozen=True)
class Videos:
    """What a plan goes by.

    Args:
        frames: Stored frames of each training video.
        validation: Number of validation videos.
    """

    frames: tuple[int, ...]
    validation: int = 0

    @classmethod
    def of(cls, records: Records, config: Config) -> Videos:
        """Count those of a records folder.

        Raises:
            KrespError: If none are for training.
        """
        frames = tuple(record.frames for record in records.split("train"))
        if not frames:
            raise KrespError(f"{config.data.videos} has no training videos; check how the data is split")
        return cls(frames, len(records.split("validation")))


@dataclass(frozen=True)
class Choice:
    """What one key was settled to, and why."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Plan:
    """A training whose every key is settled.

    Args:
        config: The configuration, with nothing left at `auto`.
        choices: What was settled, in this order.
        videos: What it was planned for.
        rate: Training clips a second on this machine; `None` where it was not measured.
    """

    config: Config
    choices: tuple[Choice, ...]
    videos: Videos
    rate: float | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each choice."""
        return tuple(f"{choice.key} is {choice.value}: {choice.reason}" for choice in self.choices)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return steps_per_epoch(len(self.videos.frames), self.config)

    @property
    def clips(self) -> int:
        """Training clips, of all epochs."""
        return self.steps * self.config.training.batch_size * self.config.training.epochs

    @property
    def seconds(self) -> float | None:
        """How long the training is expected to take; `None` where the rate is not known."""
        if self.rate is None:
            return None
        return self.config.training.epochs * _seconds_of_epoch(self.config, self.videos, self.rate)

    @property
    def outline(self) -> str:
        """How much is trained, for a person."""
        training = self.config.training
        return (
            f"{count(training.epochs, 'epoch')} of {count(self.steps, 'step')}, {self.clips:,} clips of "
            f"{count(len(self.videos.frames), 'video')} in all"
        )

    def __str__(self) -> str:
        """One line for a person."""
        line = f"Plan: {self.outline}"
        return line if self.seconds is None else f"{line}; about {clock(self.seconds)} on this machine"


def settle(
    config: Config,
    videos: Videos,
    measure: Callable[[Config], float | None] | None = None,
    before: Sequence[Choice] = (),
) -> Plan:
    """Settle what a configuration leaves at `auto`.

    Args:
        config: May have keys at `auto`.
        videos: Those of the training; at least one.
        measure: Gives the training clips a second of a configuration on this machine. Asked once, and only if
            `training.epochs` is to be settled within `training.minutes`. Without it, or where it gives `None`, no limit
            is kept.
        before: What was settled already.
    """
    choices = list(before)

    def choose(key: str, value: Any, reason: str) -> None:
        nonlocal config
        if value_of(config, key) == AUTO:
            config = override_config(config, {key: value}, "the plan")
            choices.append(Choice(key, value, reason))

    choose(VALIDATION, config.data.validation if videos.validation else 0.0, "the videos are split")
    frames = sorted(videos.frames)
    middle = median(frames)
    choose("model.frames", *_frames(middle, config))
    choose("clip.frame_stride", *_stride(middle, config))
    choose("clip.per_video", *_per_video(len(frames), config))
    rate = None
    if value_of(config, "training.epochs") == AUTO:
        if measure is not None and config.training.minutes is not None:
            rate = measure(config)
        choose("training.epochs", *_epochs(videos, config, rate))
    choose("training.warmup_epochs", *_warmup(config))
    choose("training.ema", *_ema(len(frames), config))
    choose("training.keep", *_keep(videos.validation))
    return Plan(config, tuple(choices), videos, rate)


def tell(plan: Plan) -> None:
    """Log what was settled and why, and warn of what a person should know before the training begins."""
    for note in plan.notes:
        logger.info("%s", note)
    for doubt in doubts(plan):
        logger.warning("%s", doubt)


def doubts(plan: Plan) -> list[str]:
    """What a person should know before a training begins as planned."""
    found = []
    config, videos = plan.config, plan.videos
    span = clip_span(config.model.frames, config.model.step, config.clip.frame_stride)
    shorter = sum(frames < span for frames in videos.frames)
    if 2 * shorter > len(videos.frames):
        found.append(
            f"a clip spans {span} stored frames, and {shorter} of {len(videos.frames)} training videos are shorter: "
            "they are looped to fill it; lower model.frames or clip.frame_stride"
        )
    each = plan.clips / len(videos.frames)
    if any(choice.key == "training.epochs" for choice in plan.choices) and each < FEW_CLIPS_OF_A_VIDEO:
        found.append(
            f"in training.minutes={config.training.minutes:g} the network sees only {each:.1f} clips of each video; "
            "raise it, or take a smaller network, to learn more"
        )
    return found


def _frames(middle: float, config: Config) -> tuple[int, str]:
    # A clip has the frames of the last residual frame, too.
    longest = max(1, int(middle) - config.model.step)
    if longest >= FRAMES:
        return FRAMES, f"half of the training videos have {middle:g} stored frames or more"
    return longest, f"half of the training videos have no more than {middle:g} stored frames"


def _stride(middle: float, config: Config) -> tuple[int, str]:
    span = clip_span(config.model.frames, config.model.step, 1)
    stride = min(MOST_STRIDE, max(1, round(middle / (2 * span))))
    return (
        stride,
        f"a clip then spans {clip_span(config.model.frames, config.model.step, stride)} of the {middle:g} "
        + ("stored frames that half of the training videos have"),
    )


def _per_video(n_videos: int, config: Config) -> tuple[int, str]:
    per_video = math.ceil(STEPS_OF_AN_EPOCH * config.training.batch_size / n_videos)
    return per_video, f"{n_videos} training videos then make an epoch of {STEPS_OF_AN_EPOCH} steps or more"


def _epochs(videos: Videos, config: Config, rate: float | None) -> tuple[int, str]:
    n_videos, batch = len(videos.frames), config.training.batch_size
    in_epoch = steps_per_epoch(n_videos, config) * batch
    wanted = max(LEAST_CLIPS, CLIPS_OF_A_VIDEO * n_videos)
    epochs = max(1, math.ceil(wanted / in_epoch))
    reason = f"{wanted:,} clips for {n_videos} training videos"
    if rate is not None and config.training.minutes is not None:
        most = int(config.training.minutes * 60 / _seconds_of_epoch(config, videos, rate))
        if most < epochs:
            return max(1, most), (
                f"as many as {config.training.minutes:g} minutes (training.minutes) allow at {rate:.0f} clips a "
                f"second; {epochs} would give the {reason} that are planned without a limit"
            )
    return epochs, reason


def _seconds_of_epoch(config: Config, videos: Videos, rate: float) -> float:
    clips = steps_per_epoch(len(videos.frames), config) * config.training.batch_size
    validation = videos.validation * config.training.validation_clips
    return (clips + VALIDATION_CLIP * validation) / rate


def _warmup(config: Config) -> tuple[float, str]:
    epochs = config.training.epochs
    return round(WARMUP_SHARE * epochs, 2), f"a twentieth of {epochs} epochs"


def _ema(n_videos: int, config: Config) -> tuple[float, str]:
    steps = steps_per_epoch(n_videos, config) * config.training.epochs
    decay = max(0.0, min(EMA, 1 - 1 / (EMA_SHARE * steps)))
    return round(decay, 4), f"reaches back {1 / (1 - decay):.0f} of {steps:,} steps"


def _keep(validation: int) -> tuple[str, str]:
    if validation >= ENOUGH_TO_CHOOSE_BY:
        return "best", f"{validation} validation videos are enough to choose an epoch by"
    if validation:
        return "last", f"{validation} validation videos are too few to choose an epoch by"
    return "last", "there are no validation videos"

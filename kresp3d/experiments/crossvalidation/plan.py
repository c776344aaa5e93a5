"""What is trained and tested in each fold.

All videos are prepared once. A fold is a run folder that splits them in its own way: its `catalog.csv` says which are
tested and which are for training, and `kresp3d train --resume` begins there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from kresp3d.config.schema import Config, parse_config
from kresp3d.datasets.splits import Entry, Labelled, Split, choose_units, unit_of
from kresp3d.experiments.crossvalidation.folds import Folds, assign_folds
from kresp3d.records.index import Records
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import write_text

_AGAIN = "begin anew by --overwrite, or give another --out"


class FoldVideo(BaseModel):
    """A video and the fold in which it is tested."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    label: str
    group: str | None
    fold: PositiveInt


class Plan(BaseModel):
    """Which video is tested in which fold: `folds.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folds: Folds
    """What was asked for."""
    all: bool
    """Whether the test split that the data brings was taken too."""
    left_out: int
    """Videos of that test split, where it was not."""
    videos: tuple[FoldVideo, ...]
    """Sorted by name."""

    @property
    def numbers(self) -> range:
        """The folds."""
        return range(1, max(video.fold for video in self.videos) + 1)

    @property
    def has_groups(self) -> bool:
        """Whether the group of any video is known."""
        return any(video.group is not None for video in self.videos)

    def tested(self, fold: int) -> tuple[FoldVideo, ...]:
        """The videos that are tested in a fold."""
        return tuple(video for video in self.videos if video.fold == fold)

    def splits(self, fold: int, validation: float, seed: int) -> dict[str, Split]:
        """The side of each video in a fold.

        Args:
            fold: The fold.
            validation: Fraction of the training side to set aside for validation, as near as whole groups allow.
            seed: Another seed sets other groups aside.
        """
        units: dict[str, Counter[str]] = defaultdict(Counter)
        for video in self.videos:
            if video.fold != fold:
                units[unit_of(video)][video.label] += 1
        chosen = choose_units(units, validation, f"validation {fold} {seed}") if validation else set()

        def side(video: FoldVideo) -> Split:
            if video.fold == fold:
                return "test"
            return "validation" if unit_of(video) in chosen else "train"

        return {video.name: side(video) for video in self.videos}

    def records(self, records: Records, fold: int, validation: float, seed: int) -> Records:
        """The prepared videos with the sides of a fold; see `splits`."""
        splits = self.splits(fold, validation, seed)
        return replace(
            records,
            videos=tuple(replace(video, split=splits[video.name]) for video in records.videos if video.name in splits),
        )

    def smallest(self, records: Records, validation: float, seed: int) -> Records:
        """The prepared videos with the sides of the fold that has the fewest training videos; see `splits`."""
        folds = (self.records(records, fold, validation, seed) for fold in self.numbers)
        return min(folds, key=lambda fold: len(fold.split("train")))

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_text(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read what `write` wrote.

        Raises:
            KrespError: If it is damaged.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError):
            raise KrespError(f"{path} is damaged; {_AGAIN}") from None

    def check(self, now: Plan, path: Path) -> None:
        """Make sure that a cross-validation goes on as it began.

        Args:
            now: What would be planned today.
            path: Its folder, for messages.

        Raises:
            UsageError: If other folds are asked for.
            KrespError: If the videos have changed.
        """
        if (self.folds, self.all) != (now.folds, now.all):
            raise UsageError(
                f"{path} was begun with {_options(self)}, received {_options(now)}; resume with the same ones, or "
                "give another --out"
            )
        mine, others = ({(v.name, v.label, v.group) for v in plan.videos} for plan in (self, now))
        if mine != others:
            name, *_ = min(mine ^ others)
            raise KrespError(
                f"the videos have changed since {path} was begun: {len(others - mine)} are new or changed and "
                f"{len(mine - others)} are gone or changed, such as {name}; {_AGAIN}"
            )


def _options(plan: Plan) -> str:
    return f"--folds {plan.folds}{' --all' if plan.all else ''}"


def choose_videos(entries: Sequence[Entry], *, everything: bool) -> tuple[list[Entry], int]:
    """Leave out the test split that the data brings.

    Args:
        entries: The videos with the splits that the data brings.
        everything: Leave nothing out.

    Returns:
        The others, and how many were left out.
    """
    # A video without a split goes where its group is.
    groups = {entry.group for entry in entries if entry.split == "test" and entry.group is not None}
    kept = [
        entry
        for entry in entries
        if everything or not (entry.split == "test" or (entry.split is None and entry.group in groups))
    ]
    return kept, len(entries) - len(kept)


def make_plan(videos: Sequence[Labelled], folds: Folds, seed: int, *, everything: bool, left_out: int) -> Plan:
    """Decide in which fold each video is tested; see `assign_folds`.

    Raises:
        UsageError: As `assign_folds`.
        KrespError: As `assign_folds`.
    """
    found = assign_folds(videos, folds, seed)
    planned = (FoldVideo(name=v.name, label=v.label, group=v.group, fold=found[v.name]) for v in videos)
    return Plan(
        folds=folds, all=everything, left_out=left_out, videos=tuple(sorted(planned, key=lambda video: video.name))
    )


def decodable(entries: Collection[Entry], records: Records) -> list[Labelled]:
    """The prepared ones of some videos."""
    names = {entry.name for entry in entries}
    return [video for video in records.videos if video.name in names]


def fold_config(base: Config, fold: int) -> Config:
    """The configuration of a fold's training."""
    values = base.to_values()
    values["name"] = f"{base.name}-fold-{fold}"
    values["evaluation"]["split"] = "test"
    return parse_config(values, f"fold {fold}")


def validation_fraction(base: Config) -> float:
    """Fraction of the training side of each fold that is set aside for validation.

    That is `data.validation` where the validation videos decide something: which epoch is kept, or when training
    stops. Elsewhere all of them are better used for training.

    Raises:
        UsageError: If they are to decide when training stops, and there are to be none.
    """
    training = base.training
    if training.early_stop is not None and not base.data.validation:
        raise UsageError(
            "training.early_stop needs validation videos: set data.validation above 0, or training.early_stop: null"
        )
    return base.data.validation if training.keep == "best" or training.early_stop is not None else 0.0

"""What a training needs of its videos and settings, found out before anything is replaced."""

from __future__ import annotations

from kresp3d.config.schema import Config, TrainingConfig
from kresp3d.datasets.splits import count, shorten
from kresp3d.records.index import Records
from kresp3d.records.prepare import REPORT
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.training.class_weights import class_weights


def check_videos(config: Config, records: Records) -> None:
    """Make sure that the prepared videos have what a configuration asks for.

    Raises:
        KrespError: If a class has no training video.
        UsageError: If there is no class that `training.class_weights` names, or `training.early_stop` has no validation
            videos to go by.
    """
    labels = [video.label for video in records.split("train")]
    without = [name for name in records.classes if name not in set(labels)]
    if without:
        raise KrespError(
            f"{count(len(without), 'class', 'classes')} without a training video that can be decoded: "
            f"{shorten(without)}; {records.folder / REPORT} says why: mend the videos, or leave the class out by "
            "data.classes"
        )
    class_weights(config, labels, records.classes)
    check_early_stop(config.training, has_validation=bool(records.split("validation")))


def check_early_stop(training: TrainingConfig, *, has_validation: bool) -> None:
    """Make sure that there is something to stop early by.

    Raises:
        UsageError: If there is not.
    """
    if training.early_stop is not None and not has_validation:
        raise UsageError(
            "training.early_stop needs validation videos, and there are none: set data.validation above 0, or "
            "training.early_stop: null"
        )


def check_profile(training: TrainingConfig, total: int) -> None:
    """Make sure that the steps to be profiled are among so many in all.

    Raises:
        UsageError: If they begin after the last one.
    """
    if training.profile is not None and training.profile[0] >= total:
        raise UsageError(
            f"training.profile begins at step {training.profile[0]}, but this training has {total} steps, counted from "
            "0; profile earlier ones"
        )

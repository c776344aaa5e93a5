"""What `data.validation: auto` comes to, which must be known before videos are dealt to splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kresp3d.config.schema import AUTO, Config, DataConfig, value_of
from kresp3d.datasets.splits import Entry

#: The key.
VALIDATION = "data.validation"
#: Validation videos by which the best epoch can be told from a lucky one.
ENOUGH_TO_CHOOSE_BY = 500


def validation_share(config: Config, entries: Iterable[Entry], *, compared: bool = False) -> tuple[float, str]:
    """Settle how large a share of the training groups is set aside for validation, where that is left to the videos.

    Videos that decide nothing are better learned from.

    Args:
        config: Has `data.validation` at `auto`.
        entries: The videos, with the splits that the data brings.
        compared: Whether trainings are to be compared on validation videos.

    Returns:
        The share, and the reason.
    """
    splits = Counter(entry.split for entry in entries)
    others = splits.total() - (splits["test"] or round(config.data.test * splits.total()))
    share, training = config.data.validation, config.training
    aside = round(share * others)
    if splits["validation"]:
        return share, "the data brings validation videos of its own"
    if compared:
        return share, "trainings are compared on validation videos"
    decides = value_of(config, "training.keep") == "best" or training.early_stop is not None
    if decides or config.evaluation.split == "validation":
        return share, "validation videos are asked for"
    if aside >= ENOUGH_TO_CHOOSE_BY:
        return share, f"{aside} videos are enough to choose an epoch by"
    return 0.0, f"{aside} would be too few to choose an epoch by, so that all videos are learned from"


def split_data(config: Config, entries: Iterable[Entry]) -> DataConfig:
    """The `data` section with the share of validation videos settled."""
    if value_of(config, VALIDATION) != AUTO:
        return config.data
    return config.data.model_copy(update={"validation": validation_share(config, entries)[0]})

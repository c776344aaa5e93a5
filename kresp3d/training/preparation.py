"""The videos of a training, made ready."""

from __future__ import annotations

import logging

from kresp3d.config.schema import Config, DataConfig, override_config
from kresp3d.datasets.auto_split import VALIDATION, validation_share
from kresp3d.datasets.catalog import read_entries
from kresp3d.datasets.source import resolve_videos
from kresp3d.records.index import Records
from kresp3d.records.prepare import prepare
from kresp3d.system.storage import is_remote, location
from kresp3d.training.plan import Choice, Videos, settle, tell
from kresp3d.ui.progress import progress_bar

logger = logging.getLogger("kresp3d")


def prepare_with_progress(data: DataConfig, *, quiet: bool = False) -> Records:
    """Render the embedded videos, if it is those, and prepare the records, with a bar for each unless `quiet`."""
    if data.records is not None and is_remote(data.records):
        # Rendering takes longer than to find out that there is no such store.
        location(data.records).exists()
    data = resolve_with_progress(data, quiet=quiet)
    with progress_bar("Preparing", quiet=quiet) as progress:
        return prepare(data, progress=progress)


def split_settled(config: Config, *, compared: bool = False, quiet: bool = False) -> tuple[Config, tuple[Choice, ...]]:
    """Settle how many videos are set aside for validation, by the number of videos that there are.

    Args:
        config: May have `data.validation` at `auto`.
        compared: Whether trainings are to be compared on validation videos.
        quiet: Whether nothing is shown while the embedded videos are rendered.

    Returns:
        The configuration in which that is settled, and what was settled; nothing where it was before, or where the
        videos are in an object store and cannot be listed.
    """
    if VALIDATION not in config.auto or is_remote(config.data.videos):
        return config, ()
    entries = read_entries(resolve_with_progress(config.data, quiet=quiet))
    choice = Choice(VALIDATION, *validation_share(config, entries, compared=compared))
    return override_config(config, {choice.key: choice.value}, "the plan"), (choice,)


def settled_for_all(config: Config, *, compared: bool = False) -> Config:
    """Settle what a configuration leaves to the videos, which are prepared for that, alike for many trainings.

    The time that a training takes here sets no limit: trainings that are compared must not depend on the machine.

    Args:
        config: May have keys at `auto`.
        compared: Whether the trainings are to be compared on validation videos.
    """
    if not config.auto:
        return config
    config, first = split_settled(config, compared=compared)
    records = prepare_with_progress(config.data)
    plan = settle(config, Videos.of(records, config), before=first)
    tell(plan)
    logger.info("%s", plan)
    return plan.config


def resolve_with_progress(data: DataConfig, *, quiet: bool = False) -> DataConfig:
    """Render the embedded videos, if it is those and they are missing, and say where the videos are."""
    with progress_bar("Rendering", quiet=quiet) as progress:
        return resolve_videos(data, progress=progress)

"""The videos of a training, made ready."""

from __future__ import annotations

import logging

from kresp3d.config.schema import Config, DataConfig
from kresp3d.datasets.source import resolve_videos
from kresp3d.records.index import Records
from kresp3d.records.prepare import prepare
from kresp3d.system.storage import is_remote, location
from kresp3d.training.plan import Videos, settle, tell
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


def settled_for_all(config: Config) -> Config:
    """Settle what a configuration leaves to the videos, which are prepared for that, alike for many trainings.

    The time that a training takes here sets no limit: trainings that are compared must not depend on the machine.
    """
    if not config.auto:
        return config
    records = prepare_with_progress(config.data)
    plan = settle(config, Videos.of(records, config))
    tell(plan)
    logger.info("%s", plan)
    return plan.config


def resolve_with_progress(data: DataConfig, *, quiet: bool = False) -> DataConfig:
    """Render the embedded videos, if it is those and they are missing, and say where the videos are."""
    with progress_bar("Rendering", quiet=quiet) as progress:
        return resolve_videos(data, progress=progress)

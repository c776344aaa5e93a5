"""Where the videos of a configuration are; renders the embedded dataset when it is asked for and not there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from kresp3d.config.schema import SYNTHETIC, DataConfig
from kresp3d.datasets.synthetic.dataset import write_dataset
from kresp3d.datasets.synthetic.render import RENDERER
from kresp3d.system.storage import local, location
from kresp3d.video.workers import Progress


def videos_path(config: DataConfig) -> Path:
    """The folder or CSV file of the videos, whether or not it is there."""
    if config.videos == SYNTHETIC:
        return synthetic_folder(config) / "catalog.csv"
    return location(config.videos).expanduser()


def synthetic_folder(config: DataConfig) -> Path:
    """The folder of the embedded videos below `cache`, named after all that they depend on."""
    settings = [RENDERER, config.synthetic.model_dump(mode="json")]
    return local(config.cache).expanduser() / f"synthetic-{short_hash(settings)}"


def resolve_videos(config: DataConfig, *, progress: Progress | None = None) -> DataConfig:
    """The same configuration with a folder or CSV file in `videos`; the embedded videos are rendered where missing.

    Raises:
        KrespError: If they cannot be written.
    """
    if config.videos != SYNTHETIC:
        return config
    write_dataset(synthetic_folder(config), config.synthetic, workers=config.workers, progress=progress)
    return config.model_copy(update={"videos": str(videos_path(config))})


def short_hash(values: object) -> str:
    """Eight hexadecimal digits of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]

"""The videos of a training, made ready."""

from __future__ import annotations

from kresp3d.config import DataConfig
from kresp3d.data.index import Records
from kresp3d.data.prepare import prepare
from kresp3d.data.source import resolve_videos
from kresp3d.storage import is_remote, location
from kresp3d.ui.progress import progress_bar


def prepare_with_progress(data: DataConfig, *, quiet: bool = False) -> Records:
    """Render the embedded videos, if it is those, and prepare the records, with a bar for each unless `quiet`."""
    if data.records is not None and is_remote(data.records):
        # Rendering takes longer than to find out that there is no such store.
        location(data.records).exists()
    with progress_bar("Rendering", quiet=quiet) as progress:
        data = resolve_videos(data, progress=progress)
    with progress_bar("Preparing", quiet=quiet) as progress:
        return prepare(data, progress=progress)

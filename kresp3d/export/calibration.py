"""The clips on which the range of every tensor is measured, for networks that compute in integers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.clips.sampling import uniform_starts
from kresp3d.export.parity import choose
from kresp3d.records.pipeline import evaluation_frames
from kresp3d.runs.run_folder import RunFolder

#: Training clips on which integer ranges are measured, where the videos have so many.
CALIBRATION_CLIPS = 200


def calibration_frames(run: RunFolder) -> list[npt.NDArray[np.uint8]]:
    """Different clips of a run's training videos, spread over the classes: uint8 `[n, T + s, S, S, 3]` of each batch.

    Raises:
        KrespError: If the records are gone or damaged.
    """
    records = choose(run.records("train"), CALIBRATION_CLIPS)
    clips = -(-CALIBRATION_CLIPS // len(records))
    # A short video has fewer different clips than are asked of it, and the rest would only repeat them.
    span = ClipFormat.of(run.config).span
    new = np.concatenate([_first_of_each(uniform_starts(record.frames, span, clips)) for record in records])
    found, done = [], 0
    for frames in evaluation_frames(records, run.records_folder, run.classes, run.config, clips=clips):
        found.append(frames[new[done : done + len(frames)]])
        done += len(frames)
    return found


def _first_of_each(values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Where a value comes for the first time."""
    first = np.zeros(len(values), bool)
    first[np.unique(values, return_index=True)[1]] = True
    return first

"""The clips on which integer ranges are measured."""

from __future__ import annotations

import numpy as np
import pytest

from kresp3d.export import calibration as module
from kresp3d.runs.run_folder import RunFolder


@pytest.fixture
def run(trained_run):
    return RunFolder.open(trained_run)


def test_calibration_clips_are_of_training_videos_alone(run, monkeypatch):
    monkeypatch.setattr(module, "CALIBRATION_CLIPS", 7)
    seen = []
    plain = module.evaluation_frames

    def watched(records, *arguments, **named):
        seen.extend(record.split for record in records)
        return plain(records, *arguments, **named)

    monkeypatch.setattr(module, "evaluation_frames", watched)
    clips = np.concatenate(module.calibration_frames(run))
    assert set(seen) == {"train"} and len(clips) == 7 and clips.dtype == np.uint8


def test_no_clip_comes_twice_though_more_are_asked_for_than_there_are(run):
    clips = np.concatenate(module.calibration_frames(run))
    # 15 videos of 16 frames each, in which a clip of 5 may start at 12 places.
    assert len(clips) == len({clip.tobytes() for clip in clips}) == 15 * 12

"""Mean residual frames of records, beside NumPy and Pillow."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kresp3d.evaluation.mean_residual import PAIRS, mean_residuals, pair_times
from kresp3d.records.format import write_records
from kresp3d.system.errors import KrespError


@given(st.integers(1, 400))
def test_times_are_neighbours_spread_from_the_first_frame_to_the_last(frames):
    times = pair_times(frames)
    assert len(times) == 2 * PAIRS
    assert times.min() == 0 and times.max() == frames - 1
    if frames > 1:
        assert (times[1::2] - times[::2] == 1).all()
        steps = np.diff(times[::2])
        assert steps.max() - steps.min() <= 1


def write(folder, videos):
    rows = [
        (SimpleNamespace(name=f"v{i}", label="ab"[i % 2], group=None, split="train"), frames)
        for i, frames in enumerate(videos)
    ]
    return write_records(folder, rows, jpeg_quality=95)


def stored(records):
    """All frames of each record, grey, by Pillow."""
    found = {}
    for raw in tf.data.TFRecordDataset(str(next(records.folder.glob("*.tfrecord")))).as_numpy_iterator():
        features = tf.train.Example.FromString(raw).features.feature
        jpegs = features["frames"].bytes_list.value
        pictures = [Image.open(io.BytesIO(jpeg)).convert("L") for jpeg in jpegs]
        found[features["name"].bytes_list.value[0].decode()] = np.stack([np.asarray(p, float) for p in pictures])
    return [found[record.name] for record in records.videos]


def test_pictures_equal_an_independent_computation(tmp_path):
    random = np.random.default_rng(0)
    # The squares have three times the side of the picture, so nothing is decoded at a smaller size.
    smooth = random.integers(0, 256, (2, 12, 6, 7, 3), dtype=np.uint8).repeat(8, axis=2).repeat(8, axis=3)
    records = write(tmp_path, [smooth[0], smooth[1].transpose(0, 2, 1, 3)])
    found = mean_residuals(records.videos, records.folder)
    assert found.shape == (2, 256) and found.dtype == np.float32
    for picture, frames, (top, left) in zip(found, stored(records), [(0, 4), (4, 0)], strict=True):
        square = frames[:, top : top + 48, left : left + 48]
        first = [round(t) for t in np.linspace(0, 10, PAIRS)]
        mean = np.mean([np.abs(square[t + 1] - square[t]) for t in first], axis=0)
        # Decoders of JPEG differ by a grey level here and there.
        assert picture == pytest.approx(mean.reshape(16, 3, 16, 3).mean(axis=(1, 3)).ravel(), abs=1.0)


def test_large_frames_are_decoded_small_with_nearly_the_same_picture(tmp_path):
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (1, 4, 16, 16, 3), dtype=np.uint8).repeat(16, axis=2).repeat(16, axis=3)
    records = write(tmp_path, frames)
    (picture,) = mean_residuals(records.videos, records.folder)
    grey = stored(records)[0]
    first = [round(t) for t in np.linspace(0, 2, PAIRS)]
    mean = np.mean([np.abs(grey[t + 1] - grey[t]) for t in first], axis=0)
    assert picture == pytest.approx(mean.reshape(16, 16, 16, 16).mean(axis=(1, 3)).ravel(), abs=1.5)


def test_a_still_video_and_one_of_a_single_frame_are_black(tmp_path):
    still = np.full((5, 20, 24, 3), 90, np.uint8)
    moving = still.copy()
    moving[2:] = 30
    records = write(tmp_path, [still, still[:1], moving])
    calls = []
    found = mean_residuals(records.videos, records.folder, progress=lambda *numbers: calls.append(numbers))
    assert (found[:2] == 0).all()
    assert (found[2] > 0).all()
    assert calls == [(3, 3)]


def test_a_damaged_record_gets_a_sentence(tmp_path):
    records = write(tmp_path, np.zeros((3, 4, 20, 20, 3), np.uint8))
    shard = next(tmp_path.glob("*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[records.videos[1].offset + 40] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(KrespError, match="v1"):
        mean_residuals(records.videos, records.folder)

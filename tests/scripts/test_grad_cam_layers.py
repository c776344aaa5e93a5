"""The measure of `scripts/bench/grad_cam_layers.py`."""

import importlib.util
from pathlib import Path

import numpy as np

PATH = Path(__file__).parents[2] / "scripts" / "bench" / "grad_cam_layers.py"


def test_the_hottest_fifth_of_each_clip_shows_its_mean_over_time():
    spec = importlib.util.spec_from_file_location("grad_cam_layers", PATH)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    random = np.random.default_rng(0)
    clips = random.integers(0, 256, (2, 6, 5, 5, 3), np.uint8)
    maps = random.permutation(2 * 4 * 25).reshape(2, 4, 5, 5)
    found = script.without_hottest(clips, maps, step=2)
    for clip, map_, result in zip(clips, maps, found, strict=True):
        limit = np.sort(map_.ravel())[-20]
        hot = np.concatenate([map_ >= limit, [map_[-1] >= limit] * 2])
        np.testing.assert_array_equal(result[~hot], clip[~hot])
        mean = np.broadcast_to(np.floor(clip.mean(axis=0)), clip.shape)
        np.testing.assert_array_equal(result[hot], mean[hot])
        assert (map_ >= limit).sum() == 20

"""Runs with a network that was never trained, in place of a training for each variant."""

import keras
import numpy as np
import pytest

from kresp3d.config.schema import Config
from kresp3d.nn import P3DResNet
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.files import write_text

CLASSES = ("bend", "jump $1", "walk")
SMALL = {"frames": 4, "size": 16, "step": 1, "width": 4, "blocks": (1, 1), "fc1": 8}


@pytest.fixture
def make_run(tmp_path):
    """`make_run(stride=1, **model)` gives a run folder of a small random network of three classes."""

    def make(stride=1, **model):
        config = Config.model_validate(
            {
                "name": "small",
                "data": {"fps": 10, "short_side": 24},
                "clip": {"frame_stride": stride},
                "model": {**SMALL, **model},
                "evaluation": {"clips": 3, "batch_size": 3},
            }
        )
        run = RunFolder.create(tmp_path / "run", config, overwrite=True)
        write_text(run.path / "classes.txt", "".join(f"{name}\n" for name in CLASSES))
        keras.utils.set_random_seed(1)
        network = P3DResNet(classes=len(CLASSES), **dict(config.model))
        random = np.random.default_rng(0)
        for weight in network.weights:
            if "attention" in weight.path:
                weight.assign(random.normal(size=weight.shape))
        network.save(run.model_file)
        return run

    return make


@pytest.fixture
def noise_video(make_video, tmp_path):
    """`noise_video(frames)` encodes a video of coarse random pictures at 10 frames a second."""

    def make(frames, name="noise.mp4", size=(48, 40)):
        width, height = size
        random = np.random.default_rng(frames)
        coarse = random.integers(0, 256, (frames, height // 8, width // 8, 3), np.uint8)
        return make_video(tmp_path / name, coarse.repeat(8, axis=1).repeat(8, axis=2), fps=10)

    return make

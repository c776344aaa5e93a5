"""The training step that is timed on GPUs, here on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "scripts" / "bench"

PROGRAM = """
import sys
from gpu_training_step import STEPS, _jax
from kresp3d.config.schema import load_config

model = {"width": 4, "frames": 4, "size": 16, "blocks": [1]}
work = _jax(load_config(sys.argv[1], [f"model.{key}={value}" for key, value in model.items()]), classes=5, batch=4)
losses = []
for turn in (1, 2):
    *_, optimizer, (total, count) = work()
    assert turn * STEPS in [int(value) for value in optimizer if value.ndim == 0], "so many steps were taken"
    losses.append(float(total / count))
assert losses[1] < losses[0], losses
"""


@pytest.mark.once
def test_a_turn_is_steps_of_keras_own_training_on_jax():
    pytest.importorskip("jax", reason="JAX is not installed; pip install kresp3d[dev]")
    config = FOLDER.parents[1] / "configs" / "base.yaml"
    environment = {**os.environ, "PYTHONPATH": str(FOLDER), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(config)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

"""Trains with one replica and with two logical CPU devices, and writes what came out. Run by `test_replicas.py`.

Logical devices are made before TensorFlow computes anything, so this has a process of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from kresp3d.config.schema import load_config
from kresp3d.records.prepare import prepare
from kresp3d.runs.run_folder import RunFolder
from kresp3d.training import session


def main() -> None:
    config_file, folder = sys.argv[1], Path(sys.argv[2])
    # Two devices from the start: the same computation on one of them is the reference.
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    models = []
    compile_model = session.compile_model

    def compile_and_keep(*arguments):
        models.append(compile_model(*arguments))
        return models[-1]

    session.compile_model = compile_and_keep
    found = {}
    for clip_norm, replicas, norm in (
        ("null", 1, "sync_batch"),
        ("0.3", 1, "sync_batch"),
        ("0.3", 2, "sync_batch"),
        ("0.3", 2, "batch"),
    ):
        name = f"{clip_norm}-{replicas}" + (" batch" if norm == "batch" else "")
        overrides = {"training.clip_norm": clip_norm, "training.replicas": replicas, "model.norm": norm}
        if replicas == 1:
            overrides["training.replicas"] = "null"
        config = load_config(config_file, [f"{key}={value}" for key, value in overrides.items()])
        run = RunFolder.create(folder / name, config)
        progress = session.train(run, prepare(config.data))
        weights = [value.value for value in models[-1].variables]
        copies = [[part.numpy() for part in getattr(w, "values", (w,))] for w in weights]
        found[name] = {
            "history": progress.history,
            "confusion": models[-1].video_scores.confusion().tolist(),
            "copies": sorted({len(parts) for parts in copies}),
            "in sync": all(np.array_equal(parts[0], part) for parts in copies for part in parts[1:]),
        }
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()

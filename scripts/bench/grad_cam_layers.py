"""Which block's Grad-CAM means most: does the heat lie on what moves, and does the score need what is hot?

    python scripts/bench/grad_cam_layers.py runs/NAME

The middle clip of each test video; the class is the predicted one. "On moving pixels": the share of all heat on pixels
that change by more than 12 grey levels, over the share of such pixels, so 1 is chance. "Score left": the mean score of
the class after the hottest fifth of each clip, in space and time, was replaced by the clip's mean over time. Random
maps, as coarse as 8×8 cells, say what each measure gives without any knowledge.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from kresp3d.system.quiet import quieten

#: Grey levels between two frames above which a pixel is said to move; the embedded videos have noise of up to 5.
MOVING = 12
#: Share of a clip that is replaced.
REPLACED = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    options = parser.parse_args()
    quieten()

    import tensorflow as tf

    from kresp3d.explain.grad_cam import GradCam
    from kresp3d.inference.keras_engine import KerasEngine, load_network
    from kresp3d.nn.transforms.graph import block_names
    from kresp3d.records.pipeline import evaluation_dataset
    from kresp3d.runs.run_folder import RunFolder

    run = RunFolder.open(options.run)
    batches = evaluation_dataset(run.records("test"), run.records_folder, run.classes, run.config, clips=1)
    clips = np.concatenate([inputs["frames"] for inputs, _ in batches.as_numpy_iterator()])
    engine, network, step = KerasEngine(run), load_network(run), run.config.model.step

    def over(function: Any, *arrays: Any) -> Any:
        size = engine.batch_size
        return np.concatenate([function(*(a[i : i + size] for a in arrays)) for i in range(0, len(clips), size)])

    scores = over(engine.probabilities, clips)
    classes, number = scores.argmax(axis=-1), np.arange(len(clips))
    change = np.abs(clips[:, step:].astype(np.int16) - clips[:, :-step]).max(axis=-1)
    moving = change > MOVING

    def measure(name: str, maps: Any) -> None:
        inside = (maps * moving).sum(axis=(1, 2, 3)) / np.maximum(maps.sum(axis=(1, 2, 3)), 1e-9)
        left = over(engine.probabilities, without_hottest(clips, maps, step))[number, classes].mean()
        print(f"| {name} | {inside.mean() / moving.mean():.1f} | {left:.2f} |", flush=True)

    print(f"{len(clips)} clips, mean score {scores[number, classes].mean():.2f}, moving {moving.mean():.1%}\n")
    print("| maps of | on moving pixels, × chance | score left |\n|---|---:|---:|")
    for block in block_names(network):
        cam = GradCam(network, block)
        measure(f"{block}, {cam.cells[0]}×{cam.cells[1]} cells", over(cam, clips, classes))
    random = np.random.default_rng(0).random((len(clips) * moving.shape[1], 8, 8, 1), np.float32)
    measure("random", tf.image.resize(random, moving.shape[2:]).numpy().reshape(moving.shape))


def without_hottest(clips: Any, maps: Any, step: int) -> Any:
    """Clips whose hottest pixels show the clip's mean over time.

    Args:
        clips: uint8 `[B, T + s, S, S, 3]`.
        maps: `[B, T, S, S]`; the last map holds for the last `s` frames.
        step: `s`.
    """
    flat = maps.reshape(len(maps), -1)
    hottest = np.argsort(-flat, axis=1, kind="stable")[:, : round(REPLACED * flat.shape[1])]
    chosen = np.zeros(flat.shape, bool)
    np.put_along_axis(chosen, hottest, True, axis=1)
    chosen = chosen.reshape(maps.shape)
    chosen = np.concatenate([chosen, np.repeat(chosen[:, -1:], step, axis=1)], axis=1)
    mean = clips.mean(axis=1, keepdims=True).astype(np.uint8)
    return np.where(chosen[..., None], mean, clips)


if __name__ == "__main__":
    main()

"""What a few clips show of a network in training: which part the attention prefers, and Grad-CAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kresp3d.evaluation.figures import shown_times, tiled
from kresp3d.explain.attention import AttentionGates, stage_weights
from kresp3d.explain.grad_cam import GradCam
from kresp3d.explain.panels import heated
from kresp3d.records.pipeline import evaluation_dataset
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.events import EventLog


@dataclass(frozen=True)
class ExplainedClips:
    """Clips that stay the same over a training, one of each video.

    Attributes:
        frames: uint8 `[n, T + s, S, S, 3]`.
        labels: Class indices `[n]`.
        names: The class of each clip.
    """

    frames: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def of(cls, run: RunFolder, count: int) -> Self:
        """Clips of videos that are spread over the validation split or, where there is none, the training split."""
        records = run.records("validation" if "validation" in run.splits else "train")
        # Neighbours in the table are of one class.
        rows = np.unique(np.rint(np.linspace(0, len(records) - 1, count)).astype(int))
        chosen = [records[row] for row in rows]
        dataset = evaluation_dataset(chosen, run.records_folder, run.classes, run.config, clips=1)
        batches = [(inputs["frames"], labels) for inputs, labels in dataset.as_numpy_iterator()]
        frames, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return cls(frames, labels, tuple(record.label for record in chosen))

    def log(self, log: EventLog, network: keras.Model, step: int) -> None:
        """Write what a network makes of the clips, with the weights that it has now.

        Args:
            log: Where to.
            network: The network; not changed.
            step: The epoch.
        """
        gates = AttentionGates(network)(self.frames)
        for stage, parts in stage_weights(gates).items():
            for part, weight in parts.items():
                log.scalar(f"mask_mean/{stage}/{part}", weight.mean, step)
                log.scalar(f"mask_spread/{stage}/{part}", weight.spread, step)
        for block, masks in gates.items():
            for part, mask in masks.items():
                log.histogram(f"mask/{block}/{part}", mask, step)
        # For the true class, so that pictures of different epochs say the same thing.
        maps = GradCam(network)(self.frames, self.labels)
        for number, (name, clip, heat) in enumerate(zip(self.names, self.frames, maps, strict=True)):
            log.picture(f"grad_cam/{number} {name}", tf.io.encode_png(rgb_over_heat(clip, heat)).numpy(), step)


def rgb_over_heat(
    clip: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32], columns: int = 8
) -> npt.NDArray[np.uint8]:
    """Frames of a clip above the heat on them.

    Args:
        clip: uint8 `[T + s, S, S, 3]`.
        heat: float32 `[T, S, S]` in [0, 1].
        columns: Frames shown, evenly spread over `T`; fewer where `T` is smaller.

    Returns:
        A picture, uint8 `[height, width, 3]`.
    """
    times = shown_times(len(clip), len(clip) - len(heat), columns)
    return tiled([clip[times], [heated(clip[t], heat[t]) for t in times]], gap=2)

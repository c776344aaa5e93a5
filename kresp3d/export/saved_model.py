"""A network as a SavedModel, for TensorFlow Serving and for any program with TensorFlow.

    serving_default   clips ─────────────────────────────────────────────────▶ network ─▶ probabilities
    video             frames ─▶ which frames ─▶ crop, resize ──────────▶ clips ─▶ network ─▶ mean
    encoded           JPEGs ──▶ which frames ─▶ decode, crop, resize ──▶ clips ─▶ network ─▶ mean, for each video

The graph holds TensorFlow's own operations and variables only: neither Keras nor kresp3d is needed to run it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from kresp3d.data.pipeline import _resize
from kresp3d.data.sampling import clip_indices
from kresp3d.export.serving import write_warmup
from kresp3d.inference.network_info import NetworkInfo
from kresp3d.models.inference_network import inference_network

#: The `NetworkInfo` inside the folder. TensorFlow leaves `assets.extra` alone.
INFO_FILE = "assets.extra/kresp3d.json"
#: Clips of a video that run through the network at once. More are no faster on a CPU, and each takes as much memory as
#: the largest activations: 0.2 GB in the network of the paper's Table 1.
CLIPS_AT_ONCE = 2


def write_saved_model(trained: keras.Model, info: NetworkInfo, folder: Path) -> None:
    """Write a trained network as a SavedModel with three signatures.

    - `serving_default`: `frames` uint8 `[B, T+s, S, S, 3]`, clips.
    - `video`: `frames` uint8 `[N, H, W, 3]`, all frames of one video at `info.clip.fps` frames a second.
    - `encoded`: `jpegs` string `[B, N]`, the same as JPEG files, for `B` videos of `N` frames each.

    Each gives `probabilities` float32 `[rows, classes]` and `classes` string `[rows, classes]`, the labels in every
    row: TensorFlow Serving's row format wants all outputs to have as many rows. `video` and `encoded` average
    `info.clips` clips spread uniformly, cut and resized as `kresp3d.data.pipeline.video_clips` does.

    Beside the graph lie `assets/labels.txt`, one label a line, the description `assets.extra/kresp3d.json`, and
    requests with which a server warms up.

    Args:
        trained: The trained network.
        info: Its description; `format` is set here.
        folder: The SavedModel's own folder, whose name is the version for TensorFlow Serving, such as `…/NAME/3`.
    """
    info = info.model_copy(update={"format": "saved_model", "quantize": "none"})
    with tempfile.TemporaryDirectory() as scratch:
        labels = Path(scratch) / "labels.txt"
        labels.write_text("".join(f"{label}\n" for label in info.labels), encoding="utf-8")
        module = _Served(inference_network(trained), info, labels)
        tf.saved_model.save(module, str(folder), signatures=module.signatures)
    (folder / INFO_FILE).parent.mkdir(exist_ok=True)
    (folder / INFO_FILE).write_text(info.to_text(), encoding="utf-8")
    write_warmup(folder, info)


class _Served(tf.Module):
    """Variables and signatures of an inference network; it holds no Keras object."""

    def __init__(self, network: keras.Model, info: NetworkInfo, labels_file: Path) -> None:
        super().__init__(name="kresp3d")
        self.weights = [variable.value for variable in network.variables]
        self.labels_file = tf.saved_model.Asset(str(labels_file))
        clip, labels = info.clip, tf.constant(info.labels)

        # Nothing here is written for AutoGraph.
        def function(specs: tf.TensorSpec) -> Callable[[Callable[..., tf.Tensor]], tf.types.experimental.GenericFunction]:
            return tf.function(input_signature=[specs], autograph=False)

        @function(tf.TensorSpec([None, *clip.shape], tf.uint8, name="frames"))
        def score_clips(frames: tf.Tensor) -> tf.Tensor:
            return network({"frames": frames}, training=False)

        def score_video(n_frames: tf.Tensor, picture: Picture) -> tf.Tensor:
            return _mean_score(score_clips, picture, n_frames, info)

        def with_labels(probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
            rows = tf.shape(probabilities)[0]
            return {"probabilities": probabilities, "classes": tf.tile(labels[None], [rows, 1])}

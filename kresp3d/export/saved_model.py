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
from typing import Any

import keras
import tensorflow as tf

from kresp3d.clips.sampling import clip_indices
from kresp3d.export.serving import write_warmup
from kresp3d.inference.saved_model_engine import INFO_FILE
from kresp3d.nn.transforms import inference_form
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.video.resize import resize_square

#: Clips of a video that run through the network at once. More are no faster on a CPU, and each takes as much memory as
#: the largest activations: 0.3 GB in the network of the paper's Table 1.
CLIPS_AT_ONCE = 2


def write_saved_model(trained: keras.Model, info: NetworkInfo, folder: Path) -> None:
    """Write a trained network as a SavedModel with three signatures.

    - `serving_default`: `frames` uint8 `[B, T+s, S, S, 3]`, clips.
    - `video`: `frames` uint8 `[N, H, W, 3]`, all frames of one video at `info.clip.fps` frames a second.
    - `encoded`: `jpegs` string `[B, N]`, the same as JPEG files, for `B` videos of `N` frames each.

    Each gives `probabilities` float32 `[rows, classes]` and `classes` string `[rows, classes]`, the labels in every
    row: TensorFlow Serving's row format wants all outputs to have as many rows. `video` and `encoded` average
    `info.clips` clips spread uniformly, cut and resized as `kresp3d.records.video_clips.video_clips` does.

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
        network = inference_form(trained)
        # A module with the variables alone: whoever loads it meets no Keras object.
        module = tf.Module(name="kresp3d")
        module.weights = [variable.value for variable in network.variables]
        module.labels_file = tf.saved_model.Asset(str(labels))
        tf.saved_model.save(module, str(folder), signatures=_signatures(network, info))
    (folder / INFO_FILE).parent.mkdir(exist_ok=True)
    (folder / INFO_FILE).write_text(info.to_text(), encoding="utf-8")
    write_warmup(folder, info)


def _signatures(network: keras.Model, info: NetworkInfo) -> dict[str, Any]:
    """The three signatures of `write_saved_model`, as graph functions around one function that runs the network."""
    clip, labels = info.clip, tf.constant(info.labels)

    def with_labels(probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": probabilities, "classes": tf.tile(labels[None], [tf.shape(probabilities)[0], 1])}

    @_graph(tf.TensorSpec([None, *clip.shape], tf.uint8, name="frames"))
    def score(frames: tf.Tensor) -> tf.Tensor:
        return network({"frames": frames}, training=False)

    @_graph(tf.TensorSpec([None, *clip.shape], tf.uint8, name="frames"))
    def serving_default(frames: tf.Tensor) -> dict[str, tf.Tensor]:
        return with_labels(score(checked_clips(frames, clip.shape)))

    @_graph(tf.TensorSpec([None, None, None, 3], tf.uint8, name="frames"))
    def video(frames: tf.Tensor) -> dict[str, tf.Tensor]:
        def picture(index: tf.Tensor) -> tf.Tensor:
            frame = frames[index]
            top, left, side = centre_square(tf.shape(frame)[0], tf.shape(frame)[1])
            return resize_square(frame[top : top + side, left : left + side], clip.size)

        return with_labels(mean_score(score, picture, tf.shape(frames, tf.int64)[0], info)[None])

    @_graph(tf.TensorSpec([None, None], tf.string, name="jpegs"))
    def encoded(jpegs: tf.Tensor) -> dict[str, tf.Tensor]:
        def one_video(files: tf.Tensor) -> tf.Tensor:
            def picture(index: tf.Tensor) -> tf.Tensor:
                return resize_square(decode_centre_square(files[index]), clip.size)

            return mean_score(score, picture, tf.shape(files, tf.int64)[0], info)

        row = tf.TensorSpec([len(info.labels)], tf.float32)
        # One after the other, since each already takes what memory there is to spare.
        return with_labels(tf.map_fn(one_video, jpegs, fn_output_signature=row, parallel_iterations=1))

    return {"serving_default": serving_default, "video": video, "encoded": encoded}


def checked_clips(frames: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """Let clips uint8 `[B, *shape]` pass, `B` at least 1, and refuse all else when the graph runs.

    TensorFlow Serving feeds what a client sends without a look at the shape that the signature states, and pixels of
    another shape would go through the network as another number of clips. `tf.ensure_shape` is an operation that stays
    in the graph; an assertion about `tf.shape` would not, since the stated shape makes it a constant.
    """
    frames = tf.ensure_shape(frames, [None, *shape])
    has_clips = tf.debugging.assert_positive(tf.shape(frames)[0], "expected at least one clip, received none")
    with tf.control_dependencies([has_clips]):
        return tf.identity(frames)


def _graph(spec: tf.TensorSpec) -> Callable[[Callable[[tf.Tensor], Any]], Any]:
    # Nothing here is written for AutoGraph.
    return tf.function(input_signature=[spec], autograph=False)


def mean_score(
    score: Callable[[tf.Tensor], tf.Tensor],
    picture: Callable[[tf.Tensor], tf.Tensor],
    n_frames: tf.Tensor,
    info: NetworkInfo,
) -> tf.Tensor:
    """The mean score of `info.clips` clips spread over a video, in a graph.

    Each frame is read once, and a clip that comes more than once, as in a video shorter than a clip, is scored once.

    Args:
        score: From clips uint8 `[b, T+s, S, S, 3]` to float32 `[b, classes]`.
        picture: From the int64 index of a frame to the cropped and resized frame, uint8 `[S, S, 3]`.
        n_frames: Frames of the video, int64.
        info: How clips are cut.

    Returns:
        float32 `[classes]`.
    """
    clip = info.clip
    has_frames = tf.debugging.assert_positive(n_frames, "expected a video of at least one frame, received none")
    with tf.control_dependencies([has_frames]):
        n_frames = tf.identity(n_frames)
    starts, _, counts = tf.unique_with_counts(spread_starts(n_frames, clip.span, info.clips))
    indices = clip_indices(starts[:, None], clip.length, clip.frame_stride, n_frames)
    needed, where = tf.unique(tf.reshape(indices, [-1]))
    where = tf.reshape(where, tf.shape(indices))
    frames = tf.map_fn(picture, needed, fn_output_signature=tf.TensorSpec([clip.size, clip.size, 3], tf.uint8))

    def add(first: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        now = slice(first, first + CLIPS_AT_ONCE)
        scores = score(tf.ensure_shape(tf.gather(frames, where[now]), [None, *clip.shape]))
        weights = tf.cast(counts[now], tf.float64)[:, None]
        return first + CLIPS_AT_ONCE, total + tf.reduce_sum(tf.cast(scores, tf.float64) * weights, axis=0)

    _, total = tf.while_loop(
        lambda first, _: first < tf.size(starts),
        add,
        (tf.constant(0), tf.zeros([len(info.labels)], tf.float64)),
        # Two steps at a time would take twice the memory.
        parallel_iterations=1,
    )
    return tf.cast(total / info.clips, tf.float32)


def spread_starts(n_frames: tf.Tensor, span: int, clips: int) -> tf.Tensor:
    """What `kresp3d.clips.sampling.uniform_starts` gives, in a graph, for an int64 `n_frames`: int64 `[clips]`."""
    last = tf.maximum(n_frames - span, 0)
    if clips == 1:
        return (last // 2)[None]
    # This kernel rounds as NumPy's linspace does. The same formula in several operations would not be safe: the graph
    # optimiser may reorder a product, and a start that lies half-way between two frames then falls to the other one.
    spread = tf.raw_ops.LinSpace(start=tf.constant(0.0, tf.float64), stop=tf.cast(last, tf.float64), num=clips)
    return tf.cast(tf.round(spread), tf.int64)


def centre_square(height: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """What `kresp3d.clips.crops.centre_box` gives, in a graph: top, left and side."""
    side = tf.minimum(height, width)
    return (height - side) // 2, (width - side) // 2, side


def decode_centre_square(jpeg: tf.Tensor) -> tf.Tensor:
    """The centre square of a JPEG file, uint8 `[side, side, 3]`, decoded as the records are."""
    shape = tf.image.extract_jpeg_shape(jpeg)
    top, left, side = centre_square(shape[0], shape[1])
    return tf.image.decode_and_crop_jpeg(
        jpeg, tf.stack([top, left, side, side]), channels=3, dct_method="INTEGER_ACCURATE"
    )

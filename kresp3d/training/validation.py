"""The validation videos: their clips, and what the network says of each video, in one pass over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kresp3d.evaluation.metrics import IntArray, confusion_matrix
from kresp3d.records.pipeline import WHOLE, Share, evaluation_dataset
from kresp3d.runs.run_folder import RunFolder


class VideoScores:
    """Softmax scores of videos, added up clip by clip inside a TensorFlow function.

    To be made in the scope of the strategy; each replica adds up its own clips.

    Args:
        labels: The class index of each video `[V]`.
        classes: Number of classes `C`.
    """

    def __init__(self, labels: IntArray, classes: int) -> None:
        self.labels = labels
        self._sums = tf.Variable(
            tf.zeros([len(labels), classes]),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def reset(self) -> None:
        """Forget all clips."""
        self._sums.assign(tf.zeros_like(self._sums))

    def add(self, logits: tf.Tensor, videos: tf.Tensor) -> None:
        """Count clips in.

        Args:
            logits: `[B, C]`.
            videos: int `[B]`, the video of each clip; below 0 for one that does not count.
        """
        scores = tf.nn.softmax(tf.cast(logits, tf.float32))
        self._sums.assign_add(tf.math.unsorted_segment_sum(scores, videos, len(self.labels)))

    def confusion(self) -> IntArray:
        """Videos `[C, C]`; row: the true class, column: the one with the highest sum of scores."""
        # In a function, as all that several hosts add up; see `loop`.
        sums = tf.function(lambda: tf.identity(self._sums), autograph=False)().numpy()
        return confusion_matrix(self.labels, sums.argmax(axis=1), sums.shape[1])


class ScoredModel(keras.Model):
    """A functional model that adds up the scores of videos where its inputs say which video a clip is of.

    `video_scores` holds them: inputs are `{"frames": …}` and, in validation, `"video": int [B]` too. It is a plain
    object, so that it is neither saved nor checkpointed. `kernel_values` gives kernels and the values with which the
    model computes in their place; the gradient goes through it, and also to `others`, variables beside the network's.
    """

    video_scores: VideoScores | None = None
    kernel_values: Callable[[], list[tuple[keras.Variable, Any]]] = list
    others: Sequence[keras.Variable] = ()

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """What is trained."""
        return [*super().trainable_variables, *self.others]

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        """What is trained."""
        return [*super().trainable_weights, *self.others]

    def call(self, inputs: dict[str, Any], training: bool | None = None, mask: Any = None) -> Any:
        frames = {"frames": inputs["frames"]}
        kernels = self.kernel_values()
        if not kernels:
            return super().call(frames, training=training, mask=mask)
        with keras.StatelessScope(state_mapping=kernels) as scope:
            outputs = super().call(frames, training=training, mask=mask)
        # The scope keeps to itself what changes in it, such as the state of dropout's random numbers.
        replaced = {id(kernel) for kernel, _ in kernels}
        for variable in self.variables:
            value = scope.get_current_value(variable)
            if value is not None and id(variable) not in replaced:
                variable.assign(value)
        return outputs

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        if self.video_scores is not None and "video" in x:
            self.video_scores.add(y_pred, x["video"])
        figures: dict[str, Any] = super().compute_metrics(x, y, y_pred, sample_weight)
        return figures


def validation_data(run: RunFolder, share: Share = WHOLE) -> tuple[tf.data.Dataset, VideoScores]:
    """The clips of a run's validation videos, for `ScoredModel`, and where their scores go.

    Where there are several replicas, each has as many batches, all of one size: what is missing is filled up with
    videos that came before, whose clips weigh nothing.

    Args:
        run: The run.
        share: The videos are dealt out to the workers, one after another.

    Returns:
        Batches `({"frames": uint8 [b, T+s, S, S, 3], "video": int64 [b]}, int32 [b])`, with several replicas also the
        weight of each clip, float32 `[b]`; and empty scores.

    Raises:
        KrespError: If the run has no validation videos, or their records are gone.
    """
    config, records = run.config, run.records("validation")
    clips = config.training.validation_clips
    batch = -(-config.evaluation.batch_size // share.all_replicas)
    own = list(range(share.worker, len(records), share.workers))
    most = -(-len(records) // share.workers)
    # So many clips fill the batches of a worker's replicas.
    filled = -(-most * clips // (batch * share.replicas)) * batch * share.replicas
    videos, weights = np.repeat(own, clips), None
    dealt = [records[number] for number in own]
    if share.all_replicas > 1:
        missing = -(-(filled - len(videos)) // clips)
        dealt += [records[number % len(records)] for number in range(missing)]
        videos = np.concatenate([videos, np.full(missing * clips, -1)])
        # The mean over all clips, of all replicas, is to be that of those which count.
        weights = tf.constant((videos >= 0) * filled * share.workers / (len(records) * clips), tf.float32)
    dataset = evaluation_dataset(dealt, run.records_folder, run.classes, config, clips=clips, batch_size=batch)
    videos = tf.constant(videos, tf.int64)

    def with_video(number: tf.Tensor, data: tuple[dict[str, tf.Tensor], tf.Tensor]) -> Any:
        inputs, labels = data
        first = number * batch
        places = slice(first, first + tf.cast(tf.shape(labels)[0], tf.int64))
        inputs = {**inputs, "video": videos[places]}
        return (inputs, labels) if weights is None else (inputs, labels, weights[places])

    dataset = dataset.enumerate().map(with_video)
    if share.all_replicas > 1:
        dataset = dataset.take(filled // batch)
    index = {name: number for number, name in enumerate(run.classes)}
    scores = VideoScores(np.array([index[record.label] for record in records]), len(run.classes))
    return dataset, scores

"""Clips for training and evaluation, out of a records folder, as `tf.data`.

    training     position ─▶ video, speed, start, crop, flip ─▶ read one record at its offset ─▶ decode the clip's
                             (pure functions of seed, epoch, position)           frames only ─▶ resize ─▶ batch
                                                             or take the frames from memory ─▶ resize ─▶ batch
    evaluation   video ─▶ read its record once ─▶ decode each needed frame once ─▶ its clips ─▶ batch

Nothing is shuffled in a buffer and no state is kept, so a training dataset can start at any epoch at no cost and give
what it would have given there. Which frames and which crop is settled by `sampling` and `augment`; here it is
looked up, read and decoded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.clips.crops import Box, centre_box, training_boxes
from kresp3d.clips.sampling import clip_indices, number_of_starts, played_offsets, steps_per_epoch, uniform_starts
from kresp3d.clips.warp import random_brightness, random_warp, warps
from kresp3d.config.schema import Config
from kresp3d.records.format import damage_named
from kresp3d.records.index import Record
from kresp3d.records.video_table import VideoTable, clip_frames, decode_frames, frame_reader

logger = logging.getLogger("kresp3d")

#: Rounds of the cipher that orders an epoch. TensorFlow's own default, 4, leaves orders that follow the table's (a
#: correlation of 0.4 in 1,000 videos with seed 0), and neighbours in the table are of one class.
SHUFFLE_ROUNDS = 12


@dataclass(frozen=True)
class Share:
    """The clips of each batch that one of several workers computes, for each of its replicas a batch of its own."""

    worker: int = 0
    """Its number, from 0."""
    workers: int = 1
    replicas: int = 1
    """Of each worker."""

    @property
    def all_replicas(self) -> int:
        """Of all workers."""
        return self.workers * self.replicas


#: Everything, for a single replica.
WHOLE = Share()

#: From a number, an int64 scalar, to a clip and its label.
ClipOf = Callable[[tf.Tensor], tuple[dict[str, tf.Tensor], tf.Tensor]]


class ClipService(Protocol):
    """Computes training clips somewhere else."""

    def __call__(
        self,
        clip: ClipOf,
        shape: tuple[int, ...],
        first: int,
        in_epoch: int,
        explained: Callable[[], AbstractContextManager[None]],
    ) -> tf.data.Dataset:
        """Give the clips of the numbers from `first` on, without end and in order.

        Args:
            clip: What is computed there. What it reads must be there under the same name.
            shape: Of a clip.
            first: Number of the first clip, the first of an epoch.
            in_epoch: Clips in an epoch.
            explained: Puts an error of reading into words.
        """


def training_dataset(
    records: Sequence[Record],
    folder: str | Path,
    classes: Sequence[str],
    config: Config,
    *,
    first_epoch: int = 0,
    share: Share = WHOLE,
    service: ClipService | None = None,
) -> tf.data.Dataset:
    """Augmented training clips, without end.

    Epoch after epoch, `steps_per_epoch` batches each. Within an epoch no clip of the `clip.per_video` of a video comes
    twice; what does not fill a batch is left out, and in each epoch it is something else. Fewer clips than one batch
    are repeated to fill it, each time drawn anew. With `clip.balanced` an epoch has as many clips, equally many of each
    class, and goes on with the videos of a class where the epoch before stopped.

    Args:
        records: The videos.
        folder: The records folder.
        classes: Class names; a label is an index into it.
        config: Its seed and its `clip`, `model` and `training` sections.
        first_epoch: Epoch to start with, for a run that is resumed.
        share: Which clips of each batch are given. All shares together are the batches of a single worker.
        service: Where the clips are computed; by default here.

    Returns:
        Batches `({"frames": uint8 [B, T+s, S, S, 3]}, int32 [B])`, of `training.batch_size` clips divided by the number
        of all replicas.

    Raises:
        KrespError: If there is no video, a label is none of `classes`, a record that is to be held in memory is
            damaged, or the service cannot be reached.
    """
    augment, batch = config.clip.augment, config.training.batch_size
    form = ClipFormat.of(config)
    videos = VideoTable.of(records, folder, classes)
    # One row for each speed, then as many starts as a video has for that row's clip.
    offsets = np.stack([played_offsets(form.length, form.frame_stride, speed) for speed in augment.speeds])
    starts = tf.constant([[number_of_starts(r.frames, row[-1] + 1) for row in offsets] for r in records], tf.int64)
    offsets = tf.constant(offsets)
    boxes = _box_table([training_boxes(*size, augment.scales, augment.positions) for size in videos.sizes])
    # Workers of a service each decode what they are asked for.
    read = decode_frames if service else frame_reader(videos, records, folder, config.data.memory * 2**30)
    clips = len(records) * config.clip.per_video
    in_epoch = steps_per_epoch(len(records), config) * batch
    choose = _balanced_rows([record.label for record in records], clips) if config.clip.balanced else None

    own = batch // share.workers

    def clip(number: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        # Clips are numbered as a single worker would take them, from the first epoch on.
        count = number if share.workers == 1 else number // own * batch + share.worker * own + number % own
        epoch, position = count // in_epoch, count % in_epoch
        key = tf.stack([tf.constant(config.seed, tf.int64), epoch])
        drawn = _shuffled(position % clips, clips, key)
        video = videos.at(drawn % len(records) if choose is None else choose(drawn, epoch))
        seeds = tf.random.experimental.stateless_split(tf.random.experimental.stateless_fold_in(key, position), 6)
        speed = _draw(seeds[3], tf.constant(len(augment.speeds), tf.int64))
        start = _draw(seeds[0], starts[video.row, speed])
        box = boxes[video.size, _draw(seeds[1], tf.constant(boxes.shape[1], tf.int64))]
        indices = (start + offsets[speed]) % video.frames
        frames = clip_frames(read, video, indices, box, form.size)
        if augment.flip:
            flip = _draw(seeds[2], tf.constant(2, tf.int64)) == 1
            # Not a slice with a negative stride, which takes eight times as long.
            frames = tf.cond(flip, lambda: tf.reverse(frames, [2]), lambda: frames)
        if warps(augment):
            frames = random_warp(frames, augment, seeds[4])
        if augment.brightness:
            frames = random_brightness(frames, augment.brightness, seeds[5])
        return {"frames": tf.ensure_shape(frames, form.shape)}, video.label

    in_epoch_here = in_epoch // share.workers
    first = first_epoch * in_epoch_here
    if service is None:
        dataset = _map(tf.data.Dataset.counter(first), clip)
    else:
        dataset = service(clip, form.shape, first, in_epoch_here, lambda: damage_named(lambda: records, folder))
    return _finish(dataset.batch(own // share.replicas, drop_remainder=True))


def evaluation_dataset(
    records: Sequence[Record],
    folder: str | Path,
    classes: Sequence[str],
    config: Config,
    *,
    clips: int,
    batch_size: int | None = None,
) -> tf.data.Dataset:
    """Clips spread uniformly over each video, each the centre square of the full short side; never augmented.

    In the order of `records`, the clips of one video side by side.

    Args:
        records: The videos.
        folder: The records folder.
        classes: Class names; a label is an index into it.
        config: Its `model` section, `clip.frame_stride` and `evaluation.batch_size`.
        clips: Clips of each video.
        batch_size: Clips in a batch; by default `evaluation.batch_size`.

    Returns:
        Batches `({"frames": uint8 [b, T+s, S, S, 3]}, int32 [b])`, `len(records) * clips` clips in all; the last batch
        may be smaller.

    Raises:
        KrespError: If there is no video, or a label is none of `classes`.
    """
    form = ClipFormat.of(config)
    videos = VideoTable.of(records, folder, classes)
    starts = tf.constant(np.stack([uniform_starts(record.frames, form.span, clips) for record in records]))
    boxes = _box_table([[centre_box(*size)] for size in videos.sizes])

    def clips_of(row: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        video = videos.at(row)
        indices = clip_indices(starts[row][:, None], form.length, form.frame_stride, video.frames)
        frames = clip_frames(decode_frames, video, indices, boxes[video.size, 0], form.size)
        frames = tf.ensure_shape(frames, [clips, *form.shape])
        return {"frames": frames}, tf.fill([clips], video.label)

    batch = batch_size or config.evaluation.batch_size
    dataset = _map(tf.data.Dataset.range(len(records)), clips_of).rebatch(batch)
    # A rebatched dataset does not know its size, and Keras would warn that it ended.
    return _finish(dataset.apply(tf.data.experimental.assert_cardinality(math.ceil(len(records) * clips / batch))))


def evaluation_frames(
    records: Sequence[Record],
    folder: str | Path,
    classes: Sequence[str],
    config: Config,
    *,
    clips: int,
) -> Iterator[npt.NDArray[np.uint8]]:
    """The frames of `evaluation_dataset`, batch by batch: uint8 `[b, T+s, S, S, 3]`.

    Raises:
        KrespError: As `evaluation_dataset`, or if a record is damaged.
    """
    dataset = evaluation_dataset(records, folder, classes, config, clips=clips)
    with damage_named(lambda: records, folder):
        for batch, _ in dataset.as_numpy_iterator():
            yield batch["frames"]


def _box_table(boxes: Sequence[Sequence[Box]]) -> tf.Tensor:
    """Boxes as int32 `[sizes, boxes, 4]`: top, left, height, width."""
    return tf.constant([[(box.top, box.left, box.side, box.side) for box in row] for row in boxes], tf.int32)


def _balanced_rows(labels: Sequence[str], clips: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Give a function from a number below `clips`, and the epoch, to a row of the table, with all classes alike.

    Args:
        labels: The class of each row.
        clips: Clips of an epoch.
    """
    counts = np.unique(labels, return_counts=True)[1]
    rows = tf.constant(np.argsort(labels, kind="stable"), tf.int64)
    first = tf.constant(np.cumsum(counts) - counts, tf.int64)
    of_class = tf.constant(counts, tf.int64)
    in_epoch = -(-clips // len(counts))

    def row(number: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        label, turn = number % len(counts), number // len(counts) + epoch * in_epoch
        return rows[first[label] + turn % of_class[label]]

    return row


def _shuffled(index: tf.Tensor, n: int, key: tf.Tensor) -> tf.Tensor:
    """Where a random permutation of `range(n)`, given by `key` (seed, epoch), sends `index`; no memory is used."""
    seed, epoch = key[0], key[1]
    # For a small n, the cipher takes no more than 8 bits of each word.
    words = tf.stack([seed, epoch, epoch // 256])
    return tf.raw_ops.RandomIndexShuffle(
        index=index, seed=words, max_index=tf.constant(n - 1, tf.int64), rounds=SHUFFLE_ROUNDS
    )


def _draw(seed: tf.Tensor, below: tf.Tensor) -> tf.Tensor:
    # The algorithm is named since the default may differ between devices.
    return tf.random.stateless_uniform([], seed, 0, below, tf.int64, alg="philox")


def _map(dataset: tf.data.Dataset, function: Callable[[tf.Tensor], Any]) -> tf.data.Dataset:
    # Nothing here is written for AutoGraph, which would only trace more slowly.
    plain = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(plain, num_parallel_calls=tf.data.AUTOTUNE)


def _finish(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)

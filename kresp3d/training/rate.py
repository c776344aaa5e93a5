"""How fast this machine trains a network, measured before a training is planned."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import tensorflow as tf

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.config.schema import Config
from kresp3d.nn import P3DResNet
from kresp3d.training.compiled import compile_model, dtype_policy
from kresp3d.training.loop import distributed, training_step
from kresp3d.training.strategy import share_of

#: Seconds of steps that are timed, and how many there are at least.
SECONDS = 1.5
LEAST_STEPS = 3
#: A training's share of the speed of steps alone: clips are decoded and augmented beside them, and figures written.
SHARE = 0.9


def measure_clips_per_second(config: Config, classes: int, strategy: tf.distribute.Strategy | None = None) -> float:
    """Train a network that is thrown away on grey clips, for a moment.

    Args:
        config: How it is trained; its precision is settled.
        classes: Number of classes.
        strategy: The devices of the training, on one host.

    Returns:
        Clips a second that a training may be expected to get through.
    """
    share = share_of(strategy, None)
    batch = config.training.batch_size // share.all_replicas
    frames = np.full((batch, *ClipFormat.of(config).shape), 128, np.uint8)
    clips = tf.data.Dataset.from_tensors(({"frames": frames}, np.zeros(batch, np.int32))).repeat()
    with strategy.scope() if strategy else contextlib.nullcontext(), dtype_policy(config.training.precision):
        network = P3DResNet(classes=classes, **dict(config.model))
        model = compile_model(network, config.training, classes, 1, share.all_replicas)
    step = training_step(model)
    batches = iter(distributed(clips, strategy))
    # The first step is compiled, the second finds the memory.
    for _ in range(2):
        float(step(next(batches)))
    done, began = 0, time.perf_counter()
    while done < LEAST_STEPS or time.perf_counter() - began < SECONDS:
        float(step(next(batches)))
        done += 1
    return SHARE * done * config.training.batch_size / (time.perf_counter() - began)

"""Which devices train: one, or several that mirror each other, on this host or on several."""

from __future__ import annotations

import logging
import signal

import tensorflow as tf

from kresp3d.config.schema import TrainingConfig
from kresp3d.distributed.cluster import Cluster, waiting
from kresp3d.records.pipeline import WHOLE, Share
from kresp3d.system.errors import KrespError, UsageError

logger = logging.getLogger("kresp3d")


def make_strategy(config: TrainingConfig) -> tf.distribute.Strategy | None:
    """Choose the devices that train, as `training.strategy` and `training.replicas` say.

    Without enough GPUs, `replicas` makes logical devices of the CPU. That is slower than one device and is for
    trying out on a small machine what will run on a larger one.

    To be called before TensorFlow computes anything. Of several hosts, this one waits for the others.

    Returns:
        A `MirroredStrategy`, a `MultiWorkerMirroredStrategy`, or `None` for a single device.

    Raises:
        UsageError: If the batch cannot be divided among the replicas, the settings contradict each other, or TF_CONFIG
            names no hosts.
        KrespError: If logical devices come too late, or this host's port is taken.
    """
    if config.strategy == "multi_worker":
        return _multi_worker(config)
    gpus = tf.config.list_physical_devices("GPU")
    wanted = config.replicas
    if config.strategy == "none" or (wanted is None and len(gpus) < 2 and config.strategy == "auto"):
        if wanted not in (None, 1):
            raise UsageError(f"training.replicas is {wanted}, but training.strategy is 'none'; set it to 'mirrored'")
        return None
    replicas = wanted or max(len(gpus), 1)
    _check(config, replicas)
    if len(gpus) >= replicas:
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(replicas)])
    if gpus:
        logger.warning("%d replicas were asked for and %d GPU found: training on the CPU", replicas, len(gpus))
    return tf.distribute.MirroredStrategy(
        _logical_cpus(replicas), cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def share_of(strategy: tf.distribute.Strategy | None, cluster: Cluster | None) -> Share:
    """The clips of each step that this process computes."""
    if strategy is None:
        return WHOLE
    if cluster is None:
        return Share(replicas=strategy.num_replicas_in_sync)
    workers = len(cluster.addresses)
    return Share(cluster.worker, workers, strategy.num_replicas_in_sync // workers)


def _multi_worker(config: TrainingConfig) -> tf.distribute.Strategy:
    cluster = Cluster.from_environment()
    if config.replicas is not None:
        raise UsageError("training.replicas is for one host; training.strategy multi_worker takes all GPUs of each")
    # Every host has as many GPUs, or the workers find out later.
    per_worker = max(1, len(tf.config.list_physical_devices("GPU")))
    _check(config, per_worker * len(cluster.addresses))
    try:
        with waiting(cluster):
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.UnknownError as error:
        own = cluster.addresses[cluster.worker]
        raise KrespError(
            f"{cluster} cannot be reached at {own} ({' '.join(error.message.split())[:100]}); is the port in use by "
            "another program, or an earlier training?"
        ) from error
    # TensorFlow takes the signal for itself, for a notice that nobody reads here; schedulers end processes by it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return strategy


def _check(config: TrainingConfig, replicas: int) -> None:
    if config.batch_size % replicas:
        raise UsageError(
            f"training.batch_size {config.batch_size} cannot be divided among {replicas} replicas; "
            f"use a multiple of {replicas}"
        )
    if replicas > 1 and config.precision == "mixed_float16":
        # Keras looks for overflow in the first replica's gradients alone.
        raise UsageError("training.precision mixed_float16 does not work on several replicas; use mixed_bfloat16")


def _logical_cpus(count: int) -> list[str]:
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or [None]) != count:
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
        except RuntimeError:
            raise KrespError(
                f"{count} logical CPU devices must be made before TensorFlow computes anything; use a new process"
            ) from None
    return [f"CPU:{i}" for i in range(count)]

"""How much memory a training takes, reckoned from the network before anything is allocated for it.

Nearly all of it is what each layer gives, which is kept until its gradient has been computed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from kresp3d.config.schema import Config
from kresp3d.distributed.cluster import Cluster
from kresp3d.nn import P3DResNet
from kresp3d.nn.transforms.graph import block_names
from kresp3d.records.index import Record
from kresp3d.system.errors import KrespError
from kresp3d.system.machine import memory

#: Bytes of a process with TensorFlow, Keras and the clips that are fetched ahead.
PROCESS = 2**30
#: What is allocated, over what the layers give: some gradients exist at the same time.
KEPT = 1.1
#: Copies of the weights while a step is computed: themselves, their gradients, and what multiplies them.
COPIES = 6
#: What the optimiser keeps for each weight.
MOMENTS = {"sgd": 1, "adamw": 2}
#: A training that takes more than this share of what is free is warned of.
CLOSE = 0.8

logger = logging.getLogger("kresp3d")


@dataclass(frozen=True)
class Memory:
    """What a training has in use at its peak, in bytes.

    Args:
        steady: Whatever the batch: the process, weights, gradients, the optimiser's moments, videos held in memory.
        clip: For each clip of a step on this host.
        batch: Clips of a step.
    """

    steady: int
    clip: int
    batch: int

    @property
    def peak(self) -> int:
        """In all."""
        return self.steady + self.batch * self.clip

    def fitting(self, free: int) -> int:
        """The most clips of a step that fit into so many bytes."""
        return max(0, free - self.steady) // self.clip


def reckon_memory(config: Config, classes: int, decoded: int = 0, hosts: int = 1) -> Memory:
    """Reckon what a training takes on each host.

    Args:
        config: How it is trained; its precision is settled.
        classes: Number of classes.
        decoded: Bytes of the training videos, decoded, which are held in memory if `data.memory` allows it.
        hosts: Among which the clips of a step are shared out.
    """
    training = config.training
    network = P3DResNet(classes=classes, **dict(config.model))
    numbers = kept_numbers(network, recomputed=training.gradient_checkpointing)
    width = 4 if training.precision == "float32" else 2
    copies = COPIES + MOMENTS[training.optimizer] + (training.ema is not None)
    held = decoded if decoded <= config.data.memory * 2**30 else 0
    steady = PROCESS + 4 * copies * network.count_params() + held
    return Memory(steady, round(KEPT * width * numbers), training.batch_size // hosts)


def kept_numbers(network: keras.Model, *, recomputed: bool = False) -> int:
    """Count the numbers that are kept of one clip for the gradients.

    Args:
        network: A functional model.
        recomputed: Whether its bottlenecks are computed again, one at a time; see `recompute_blocks`.
    """
    sizes = {layer.name: _size(layer.output) for layer in network.layers}
    total = sum(sizes.values())
    if not recomputed:
        return total
    blocks = [
        sum(size for name, size in sizes.items() if name.startswith(f"{block}_")) for block in block_names(network)
    ]
    # Of the block that is at work, what it gives and the gradients.
    return total - sum(blocks) + 2 * max(blocks)


def _size(output: dict[str, keras.KerasTensor] | keras.KerasTensor) -> int:
    tensors = output.values() if isinstance(output, dict) else [output]
    return sum(math.prod(tensor.shape[1:]) for tensor in tensors)


def check_memory(config: Config, classes: int, videos: Sequence[Record]) -> None:
    """Refuse a training that will not fit into the memory of this machine, and warn of one that hardly will.

    Not where a GPU trains, whose memory is not known here, nor where `training.check_memory` is false.

    Args:
        config: How it is trained; its precision is settled.
        classes: Number of classes.
        videos: The training videos.

    Raises:
        KrespError: If it takes more than is free.
    """
    _, free = memory()
    if not config.training.check_memory or free is None or tf.config.list_physical_devices("GPU"):
        return
    cluster = Cluster.of(config.training)
    decoded = sum(video.frames * video.height * video.width * 3 for video in videos)
    needed = reckon_memory(config, classes, decoded, 1 if cluster is None else len(cluster.addresses))
    figures = f"about {needed.peak / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free"
    if needed.peak > free:
        raise KrespError(
            f"this training takes {figures}; {what_helps(config, needed.fitting(free))}. To try it all the same, set "
            "training.check_memory: false"
        )
    if needed.peak > CLOSE * free:
        logger.warning("this training takes %s; if memory runs out, %s", figures, what_helps(config))


def what_helps(config: Config, fitting: int = 0) -> str:
    """Say which keys make a training smaller, those that cost least first.

    Args:
        config: How it is trained.
        fitting: The most clips of a step that fit, where that is known.
    """
    model, training = config.model, config.training
    batch = f"training.batch_size to {fitting} or less" if fitting else "training.batch_size"
    switches = [
        *(["training.precision: mixed_bfloat16"] if training.precision == "float32" else []),
        *(["model.stem_pool: true"] if not model.stem_pool else []),
        *(["training.gradient_checkpointing: true"] if not training.gradient_checkpointing else []),
    ]
    return f"lower {batch}, model.frames or model.size" + (f", or set {' or '.join(switches)}" if switches else "")

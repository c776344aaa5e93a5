"""How much memory a training takes, reckoned from the network before anything is allocated for it.

    process, weights, gradients, moments, videos held in memory
    + the larger of what a step keeps for the gradients, and what is at work while videos are scored

Nearly all of it is what each layer gives, which is kept until its gradient has been computed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import keras
import tensorflow as tf

from kresp3d.config.schema import Config, Method
from kresp3d.distributed.cluster import Cluster
from kresp3d.nn import P3DResNet
from kresp3d.nn.transforms.graph import block_names
from kresp3d.runs.run_folder import fast_precision
from kresp3d.system.errors import KrespError
from kresp3d.system.machine import memory, resident_memory

#: Bytes of a process with TensorFlow, Keras and the clips that are fetched ahead.
PROCESS = 2**30
#: What is allocated, over what the layers give: some gradients exist at the same time.
KEPT = 1.1
#: What is allocated while clips are scored, over what the layers give that are at work at the same time: a convolution
#: works in as much again. Measured were 1.4 to 2.5.
SCORED = 2
#: Copies of the weights while a step is computed: themselves, their gradients, and what multiplies them.
COPIES = 6
#: What the optimiser keeps for each weight.
MOMENTS = {"sgd": 1, "adamw": 2}
#: A training is refused that takes so many times what is there. What is reckoned may be off by a quarter, and other
#: programs end and give memory back: a training that may well fit is not for us to refuse.
TOO_LARGE = 1.25
#: One that takes more than this share of what is there is warned of.
CLOSE = 0.8

_ALL_THE_SAME = "To try it all the same, set training.check_memory: false"

logger = logging.getLogger("kresp3d")


@dataclass(frozen=True)
class Memory:
    """What a training has in use at its peak, in bytes.

    Args:
        steady: Whatever the batch: the process, weights, gradients, the optimiser's moments, videos held in memory.
        clip: For each clip of a step on this host.
        batch: Clips of a step.
        scored_clip: For each clip that is scored at once, in validation and in the test at the end.
        scored_batch: Clips that are scored at once.
    """

    steady: int
    clip: int
    batch: int
    scored_clip: int = 0
    scored_batch: int = 0

    @property
    def step(self) -> int:
        """For the clips of a step."""
        return self.batch * self.clip

    @property
    def scoring(self) -> int:
        """For the clips that are scored at once, which is not done during a step."""
        return self.scored_batch * self.scored_clip

    @property
    def peak(self) -> int:
        """In all."""
        return self.steady + max(self.step, self.scoring)

    def verdict(self, there: int, trainings: int = 1) -> Literal["fits", "close", "too large"]:
        """Judge whether it fits into the bytes that are there, so many trainings at a time."""
        if trainings * self.peak > TOO_LARGE * there:
            return "too large"
        return "close" if trainings * self.peak > CLOSE * there else "fits"


def available() -> int | None:
    """Bytes that a training in this process may have: what is free, and what the process has already.

    `None` where that is not known, as it is of a GPU's memory.
    """
    _, free = memory()
    return None if free is None or on_gpu() else free + (resident_memory() or 0)


def on_gpu() -> bool:
    """Whether there is a GPU to train on."""
    return bool(tf.config.list_physical_devices("GPU"))


def reckon_memory(
    config: Config, classes: int, decoded: int = 0, hosts: int = 1, network: keras.Model | None = None
) -> Memory:
    """Reckon what a training takes on each host.

    Args:
        config: How it is trained; its precision is settled.
        classes: Number of classes.
        decoded: Bytes of the training videos, decoded, which are held in memory if `data.memory` allows it.
        hosts: Among which the clips of a step are shared out.
        network: What is trained, where it is no new one.
    """
    training = config.training
    network = network or P3DResNet(classes=classes, **dict(config.model))
    width = 4 if training.precision == "float32" else 2
    copies = COPIES + MOMENTS[training.optimizer] + (training.ema is not None)
    # Where others make the clips, they hold the videos.
    held = decoded if config.data.service is None and decoded <= config.data.memory * 2**30 else 0
    return Memory(
        steady=PROCESS + 4 * copies * network.count_params() + held,
        clip=round(KEPT * width * kept_numbers(network, recomputed=training.gradient_checkpointing)),
        batch=math.ceil(training.batch_size / hosts),
        scored_clip=SCORED * width * numbers_at_work(network),
        scored_batch=config.evaluation.batch_size,
    )


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


def numbers_at_work(network: keras.Model) -> int:
    """Count the numbers of one clip that exist at the same time while it is scored, at most.

    A tensor exists from the operation that gives it to the last one that takes it.

    Args:
        network: A functional model.
    """
    # From the inputs on: depths count from the outputs.
    nodes = [node for depth in sorted(network._nodes_by_depth, reverse=True) for node in network._nodes_by_depth[depth]]
    last = {id(tensor): place for place, node in enumerate(nodes) for tensor in node.input_tensors}
    alive: dict[int, int] = {}
    most = 0
    for place, node in enumerate(nodes):
        alive |= {id(tensor): _size(tensor) for tensor in node.output_tensors}
        most = max(most, sum(alive.values()))
        alive = {tensor: size for tensor, size in alive.items() if last.get(tensor, place) > place}
    return most


def _size(output: dict[str, keras.KerasTensor] | keras.KerasTensor) -> int:
    tensors = output.values() if isinstance(output, dict) else [output]
    return sum(math.prod(tensor.shape[1:]) for tensor in tensors)


def check_memory(config: Config, classes: int, decoded: int = 0, *, network: keras.Model | None = None) -> None:
    """Refuse a training that will not fit into the memory of this machine, and warn of one that hardly will.

    Not where a GPU trains, whose memory is not known here, nor where `training.check_memory` is false. To be called
    before anything is allocated for the training, or to measure its speed.

    Args:
        config: How it is trained; its precision is settled.
        classes: Number of classes.
        decoded: Bytes of the training videos, decoded.
        network: What is trained, where it is no new one.

    Raises:
        KrespError: If it takes clearly more than is there.
    """
    if not config.training.check_memory or (there := available()) is None:
        return
    cluster = Cluster.of(config.training)
    needed = reckon_memory(config, classes, decoded, 1 if cluster is None else len(cluster.addresses), network)
    verdict = needed.verdict(there)
    if verdict == "too large":
        raise KrespError(f"{refusal(config, needed, there)}. {_ALL_THE_SAME}")
    if verdict == "close":
        logger.warning("%s", nearly(config, needed, there))


def check_together(configs: Mapping[str, Config], classes: int, decoded: int, trainings: int) -> None:
    """Refuse trainings of which so many at a time will not fit into the memory of this machine.

    Each of them looks for itself when it begins, but what those beside it will take is not in use by then.

    Args:
        configs: By name, how they are trained; their precision is settled.
        classes: Number of classes.
        decoded: Bytes of the training videos, decoded.
        trainings: How many there are at a time.

    Raises:
        KrespError: If the largest of them take clearly more than is there.
    """
    checked = [config for config in configs.values() if config.training.check_memory]
    if not checked or (there := available()) is None:
        return
    # All that run side by side may be of the largest kind: there are several seeds or folds of each.
    needed, config = max(
        ((reckon_memory(config, classes, decoded), config) for config in checked), key=lambda pair: pair[0].peak
    )
    if needed.verdict(there, trainings) != "too large":
        return
    if needed.verdict(there) == "too large":
        raise KrespError(f"{refusal(config, needed, there)}. {_ALL_THE_SAME}")
    raise KrespError(
        f"{trainings} trainings at a time (--jobs {trainings}) take about {trainings * needed.peak / 2**30:.1f} GiB of "
        f"memory, and {there / 2**30:.1f} GiB are available; use --jobs {max(1, there // needed.peak)}. {_ALL_THE_SAME}"
    )


def refusal(config: Config, needed: Memory, there: int) -> str:
    """Say that a training will not fit, and what to lower."""
    return f"this training takes {_figures(needed, there)}; {what_helps(config, needed, there)}"


def nearly(config: Config, needed: Memory, there: int) -> str:
    """Say that a training may not fit, and what to lower then."""
    return f"this training takes {_figures(needed, there)}; if memory runs out, {what_helps(config, needed, there)}"


def _figures(needed: Memory, there: int) -> str:
    return f"about {needed.peak / 2**30:.1f} GiB of memory, and {there / 2**30:.1f} GiB are available"


#: Methods of compression that cannot compute bottlenecks anew, since they change what is computed.
_FIXED: tuple[Method, ...] = ("cluster", "qat")


def what_helps(config: Config, needed: Memory | None = None, there: int = 0) -> str:
    """Say which keys make a training smaller, those with the largest effect first.

    Args:
        config: How it is trained.
        needed: What it takes, where that is known.
        there: The bytes that are there.
    """
    model, training, method = config.model, config.training, config.compress.method
    room = 0 if needed is None else max(0, there - needed.steady)
    # Of a step and of scoring, the smaller one counts only if it does not fit by itself.
    is_step = needed is None or needed.step >= needed.scoring or needed.step > room
    is_scoring = needed is not None and (needed.scoring > needed.step or needed.scoring > room)
    batches, switches = [], []
    if is_step:
        batches += _lowered("training.batch_size", training.batch_size, None if needed is None else room // needed.clip)
    if needed is not None and is_scoring:
        batches += _lowered("evaluation.batch_size", needed.scored_batch, room // needed.scored_clip)
    # Where neither fits, both have to be lowered.
    lower = [" and ".join(batches)] if batches else []
    # A network that is being compressed is what it is.
    if method is None:
        lower += ["model.frames", "model.size"]
    if method is None and not model.stem_pool:
        switches.append("model.stem_pool: true")
    if is_step and not training.gradient_checkpointing and method not in _FIXED:
        switches.append("training.gradient_checkpointing: true")
    # On a CPU without instructions for it, it would take many times as long.
    if method is None and training.precision == "float32" and (on_gpu() or fast_precision() != "float32"):
        switches.append("training.precision: mixed_bfloat16")
    parts = [f"lower {_or(lower)}"] if lower else []
    parts += [f"set {_or(switches)}"] if switches else []
    return ", or ".join(parts) or "use a machine with more memory"


def _lowered(key: str, now: int, fitting: int | None) -> list[str]:
    """A key that can be lowered, and to what, where that is known."""
    if now == 1:
        return []
    return [f"{key} to {fitting} or less" if fitting and fitting < now else key]


def _or(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

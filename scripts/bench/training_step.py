"""How long a training step takes, and how much memory, by kresp3d and by PyTorch.

    pip install -e ".[bench]"
    python scripts/bench/training_step.py --config configs/ucf101.yaml --batch 1 --batch 4

The same batch is trained on again and again. Ours is the step of `kresp3d train`, in mixed precision for bfloat16.
PyTorch's network (`torch_network.py`) has its memory in `channels_last_3d` and computes bfloat16 by autocast. Both have
SGD with Nesterov momentum, weight decay, label smoothing and clipped gradients; neither averages its weights. They take
turns, as `turns.py` says.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import numpy as np
from arguments import config_parser
from turns import Work, cpu_name, take_turns

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.config.schema import Config, load_config


def main() -> None:
    parser = config_parser(__doc__, "base.yaml", "whose network and optimiser are built")
    parser.add_argument("--classes", type=int, default=101)
    parser.add_argument("--batch", action="append", type=int, help="clips in a step; may be given more than once")
    parser.add_argument("--precision", action="append", choices=["float32", "bfloat16"], help="default: both")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each, after two that are not counted")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    config = load_config(options.config, [*options.set, "training.optimizer=sgd", "training.ema=null"])
    print(f"{cpu_name()}, {options.threads} threads, {options.rounds} rounds; medians, of ratios least and most too\n")
    print("| precision | clips | kresp3d | PyTorch | kresp3d / PyTorch | CPU time, likewise | memory of each |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for precision in options.precision or ["float32", "bfloat16"]:
        for batch in options.batch or [1, 4, 8]:
            measured = take_turns(
                {
                    "kresp3d": partial(_ours, config, options.classes, batch, precision, options.threads),
                    "PyTorch": partial(_torch, config, options.classes, batch, precision, options.threads),
                },
                options.rounds,
            )
            ours, theirs = measured["kresp3d"], measured["PyTorch"]
            ratios = ours.ratios(theirs)
            columns = [
                precision,
                str(batch),
                f"{ours.wall:.3f} s",
                f"{theirs.wall:.3f} s",
                f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})",
                f"{ours.cpu / theirs.cpu:.2f}",
                " / ".join(_gibibytes(side.memory) for side in (ours, theirs)),
            ]
            print(f"| {' | '.join(columns)} |", flush=True)


def _gibibytes(memory: int | None) -> str:
    return "?" if memory is None else f"{memory / 2**30:.2f} GiB"


def random_batch(config: Config, classes: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """A batch of noise: uint8 `[batch, T+s, S, S, 3]` and the labels, int32 `[batch]`."""
    random = np.random.default_rng(0)
    shape = (batch, *ClipFormat.of(config).shape)
    return random.integers(0, 256, shape, np.uint8), random.integers(0, classes, batch, np.int32)


def torch_step(
    config: Config, classes: int, batch: int, precision: str, device: str = "cpu", compiled: bool = False
) -> Work:
    """PyTorch's training step on a batch of noise.

    Args:
        config: Whose network and optimiser are built.
        classes: Number of classes.
        batch: Clips in the step.
        precision: `float32`, or `bfloat16` by autocast.
        device: What PyTorch calls the device.
        compiled: Whether the network goes through `torch.compile`.
    """
    import torch
    from torch_network import Network

    settings = config.training
    network = Network(config.model, classes).train().to(device, memory_format=torch.channels_last_3d)
    optimizer = torch.optim.SGD(
        network.parameters(),
        settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )
    loss = torch.nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    frames, labels = (torch.from_numpy(values).to(device) for values in random_batch(config, classes, batch))
    labels = labels.long()
    forward = torch.compile(network) if compiled else network

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = forward(frames)
        loss(logits.float(), labels).backward()
        if settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()

    return step


def _ours(config: Config, classes: int, batch: int, precision: str, threads: int) -> Work:
    import keras
    import tensorflow as tf

    from kresp3d.nn import P3DResNet
    from kresp3d.training.compiled import compile_model

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras.config.set_dtype_policy("float32" if precision == "float32" else "mixed_bfloat16")
    model = compile_model(P3DResNet(classes=classes, **dict(config.model)), config.training, classes, steps=100)
    model.make_train_function()
    frames, labels = random_batch(config, classes, batch)
    batches = iter(tf.data.Dataset.from_tensors(({"frames": frames}, labels)).repeat())
    return partial(model.train_function, batches)


def _torch(config: Config, classes: int, batch: int, precision: str, threads: int) -> Work:
    import torch

    torch.set_num_threads(threads)
    return torch_step(config, classes, batch, precision)


if __name__ == "__main__":
    main()

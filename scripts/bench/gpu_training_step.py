"""How long a training step takes on a GPU, by kresp3d's network on Keras' JAX backend and by PyTorch.

    pip install -e . "jax[cuda13]" torch
    python scripts/bench/gpu_training_step.py --config configs/ucf101.yaml --batch 16 --batch 64 --peak 989

Both compute in bfloat16 (mixed precision; autocast) with the same SGD, and train on one batch that is held on the GPU.
PyTorch's network (`torch_network.py`) has its memory in `channels_last_3d` and goes through `torch.compile`. The two do
not fit on a GPU together, so that one follows the other, each in a process of its own. TensorFlow is not needed.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from typing import Any

from arguments import config_parser
from training_step import random_batch, torch_step
from turns import Work, take_turns

from kresp3d.config.schema import Config, load_config

#: Steps between two waits for the GPU.
STEPS = 10
#: The gradient takes twice the work of the scores.
FORWARDS = 3


def main() -> None:
    parser = config_parser(__doc__, "ucf101.yaml", "whose network and optimiser are built")
    parser.add_argument("--classes", type=int, default=101)
    parser.add_argument("--batch", action="append", type=int, help="clips in a step; may be given more than once")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each, after two that are not counted")
    parser.add_argument("--peak", type=float, help="TFLOP/s of bfloat16 that the device does at most")
    parser.add_argument("--device", default="cuda", help="PyTorch's name of it (default: %(default)s)")
    options = parser.parse_args()

    config = load_config(options.config, options.set)
    contenders = {
        "kresp3d, JAX": partial(_jax, config, options.classes),
        "PyTorch, compiled": partial(_torch, config, options.classes, device=options.device),
    }
    # In a process of its own, so that this one never takes memory of the GPU.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        device, flops = pool.submit(_describe, config, options.classes).result()
    print(f"{device}, {date.today()}, {options.rounds} rounds of {STEPS} steps; medians\n")
    print("| | clips | a step | clips/s | share of the peak |")
    print("|---|---:|---:|---:|---:|")
    for batch in options.batch or [16, 64]:
        for name, make in contenders.items():
            try:
                measured = take_turns({name: partial(make, batch)}, options.rounds)[name]
            except RuntimeError:
                print(f"| {name} | {batch} | did not run | | |", flush=True)
                continue
            rate = STEPS * batch / measured.wall
            share = "?" if options.peak is None else f"{FORWARDS * flops * rate / options.peak / 1e12:.1%}"
            milliseconds = 1000 * measured.wall / STEPS
            print(f"| {name} | {batch} | {milliseconds:.1f} ms | {rate:.0f} | {share} |", flush=True)


def _describe(config: Config, classes: int) -> tuple[str, int]:
    """The device, and the floating-point operations that score one clip."""
    os.environ["KERAS_BACKEND"] = "jax"
    import jax

    from kresp3d.nn import P3DResNet
    from kresp3d.nn.profile import profile

    return jax.devices()[0].device_kind, 2 * profile(P3DResNet(classes=classes, **dict(config.model))).macs


def _jax(config: Config, classes: int, batch: int) -> Work:
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras

    from kresp3d.nn import P3DResNet
    from kresp3d.training.loss import SmoothedCrossEntropy

    keras.config.set_dtype_policy("mixed_bfloat16")
    model = P3DResNet(classes=classes, **dict(config.model))
    settings = config.training
    model.compile(
        keras.optimizers.SGD(
            settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
            global_clipnorm=settings.clip_norm,
        ),
        SmoothedCrossEntropy(settings.label_smoothing),
    )
    model.optimizer.build(model.trainable_variables)
    train_step = jax.jit(model.train_step, donate_argnums=0)
    frames, labels = (jax.device_put(values) for values in random_batch(config, classes, batch))
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state: Any = tuple([variable.value for variable in group] for group in groups)

    def work() -> Any:
        nonlocal state
        for _ in range(STEPS):
            _, state = train_step(state, ({"frames": frames}, labels))
        return jax.block_until_ready(state)

    return work


def _torch(config: Config, classes: int, batch: int, device: str) -> Work:
    import torch

    step = torch_step(config, classes, batch, "bfloat16", device, compiled=True)

    def work() -> None:
        for _ in range(STEPS):
            step()
        if device != "cpu":
            torch.cuda.synchronize()

    return work


if __name__ == "__main__":
    main()

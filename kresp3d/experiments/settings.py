"""What a report says of how its networks were trained: rows of a table."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime

from kresp3d.config.schema import Config
from kresp3d.datasets.splits import count
from kresp3d.system.machine import count_cores, cpu_model, read_text
from kresp3d.system.text import clock
from kresp3d.training.process import Training

Rows = list[tuple[str, str]]


def network_rows(base: Config, kept: str, done: Sequence[Training]) -> Rows:
    """The network, its clips and its training.

    Args:
        base: The configuration that the trainings share.
        kept: The epoch that is kept, `last` or `best`.
        done: The finished trainings.
    """
    model, training = base.model, base.training
    # A training settles `auto` for its machine, and some may have gone on on another one.
    precisions = dict.fromkeys(one.run.config.training.precision for one in done) or [training.precision]
    return [
        (
            "network",
            f"width {model.width}, blocks {list(model.blocks)}, fc1 {model.fc1}, "
            f"stem pool {'yes' if model.stem_pool else 'no'}",
        ),
        (
            "clip",
            f"{model.frames} frames of {model.size}×{model.size}, stride {base.clip.frame_stride} at "
            f"{base.data.fps:g} fps",
        ),
        (
            "training",
            f"{training.epochs} epochs, batch {training.batch_size}, {training.optimizer}, learning rate "
            f"{training.learning_rate:g}, {' and '.join(precisions)}, {kept} epoch kept",
        ),
    ]


def machine_rows(gpus: Sequence[str], done: Sequence[Training], seconds: float) -> Rows:
    """The machine, the versions and the time.

    Args:
        gpus: The names of the GPUs.
        done: The finished trainings.
        seconds: What all trainings took together.
    """
    cpu = cpu_model(read_text("/proc/cpuinfo")) or platform.machine()
    names = f", {', '.join(gpus)}" if gpus else ""
    return [
        ("machine", f"{cpu}, {count(count_cores(), 'core')}{names}"),
        ("versions", _versions(done)),
        ("training in all", f"{clock(seconds)} ({seconds:.0f} s)"),
        ("written", datetime.now(UTC).isoformat(sep=" ", timespec="minutes")),
    ]


def _versions(done: Sequence[Training]) -> str:
    """The versions that trained; several where they changed between trainings."""
    found: dict[str, None] = {}
    for training in done:
        environment = training.run.environment
        packages = environment["packages"]
        found[
            f"kresp3d {environment['kresp3d']}, TensorFlow {packages['tensorflow']}, Keras {packages['keras']}, "
            f"Python {environment['python']}"
        ] = None
    return "; ".join(found)

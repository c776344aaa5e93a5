"""What the networks cost, and what there is to train them on: asked of TensorFlow in a process of its own.

The process that leads a reproduction imports no TensorFlow, which would hold memory, and a GPU, for as long as it runs.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from kresp3d.config.schema import Config, ModelConfig, parse_config
from kresp3d.records.index import Record
from kresp3d.runs.run_folder import settle_precision
from kresp3d.system.errors import UsageError


@dataclass(frozen=True)
class Cost:
    """Parameters of a network, and multiply-adds for one clip."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class Survey:
    """The costs of the networks by row, and the names of the GPUs."""

    costs: Mapping[str, Cost]
    gpus: tuple[str, ...]


def survey(
    models: Mapping[str, ModelConfig],
    classes: int,
    base: Config | None = None,
    videos: Iterable[Record] = (),
    jobs: int = 1,
) -> Survey:
    """Build each network once, which also shows whether it can be built.

    Args:
        models: The networks, by row.
        classes: Number of classes.
        base: How they are trained; then it is made sure that the memory will do.
        videos: The training videos.
        jobs: Trainings at a time.

    Raises:
        UsageError: If a network cannot be built.
        KrespError: If the trainings will not fit into memory.
    """
    text = None if base is None else settle_precision(base).to_yaml()
    decoded = sum(video.decoded for video in videos)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_survey, dict(models), classes, text, decoded, jobs).result()


def measure_rate(config: Config, classes: int, cores: Collection[int] | None = None) -> float:
    """Measure how fast this machine trains; see `kresp3d.training.rate`.

    Args:
        config: How it trains; its precision is settled.
        classes: Number of classes.
        cores: The cores that may be used; all of this process's by default.

    Returns:
        Training clips a second.

    Raises:
        KrespError: If it will not fit into memory.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure_rate, config.to_yaml(), classes, cores).result()


def _measure_rate(config_text: str, classes: int, cores: Collection[int] | None) -> float:
    if cores is not None:
        # Before TensorFlow makes as many threads as there are.
        os.sched_setaffinity(0, cores)
    from kresp3d.system.quiet import quieten

    quieten()
    from kresp3d.system.plain_yaml import parse_yaml
    from kresp3d.training.memory import check_memory
    from kresp3d.training.rate import measure_clips_per_second
    from kresp3d.training.strategy import make_strategy

    config = parse_config(parse_yaml(config_text), "the configuration")
    check_memory(config, classes)
    return measure_clips_per_second(config, classes, make_strategy(config.training))


def _survey(models: dict[str, ModelConfig], classes: int, base: str | None, decoded: int, jobs: int) -> Survey:
    from kresp3d.system.quiet import quieten

    quieten()
    import keras
    import tensorflow as tf

    from kresp3d.nn import P3DResNet
    from kresp3d.nn.profile import profile
    from kresp3d.system.plain_yaml import parse_yaml
    from kresp3d.training.memory import check_together

    costs = {}
    for row, model in models.items():
        try:
            found = profile(P3DResNet(classes=classes, **dict(model)))
        except ValueError as error:
            reason = " ".join(str(error).split())[:300]
            raise UsageError(f"row {row}: the network cannot be built with this configuration: {reason}") from None
        costs[row] = Cost(found.parameters, found.macs)
        keras.backend.clear_session()
    if base is not None:
        config = parse_config(parse_yaml(base), "the configuration")
        trained = {row: config.model_copy(update={"model": model}) for row, model in models.items()}
        check_together(trained, classes, decoded, jobs)
    devices = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(device) for device in devices]
    return Survey(costs, tuple(str(detail.get("device_name", "GPU")) for detail in details))

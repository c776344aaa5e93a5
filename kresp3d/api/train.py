"""From a configuration to a trained and measured network: what `kresp3d train` does."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kresp3d.api.run import Run
from kresp3d.clips.sampling import steps_per_epoch
from kresp3d.config.schema import Config, Overrides, make_config
from kresp3d.distributed.cluster import Cluster
from kresp3d.evaluation.doubts import changes_since
from kresp3d.records.index import Records, reading
from kresp3d.runs.phases import epochs_before
from kresp3d.runs.run_folder import OVERWRITE, RESUME, RunFolder, command_line, settle_precision
from kresp3d.system.arguments import check_path, whole_number
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.last_words import last_words
from kresp3d.system.storage import location
from kresp3d.training.checks import check_profile, check_videos
from kresp3d.training.plan import Choice, Videos, settle, tell
from kresp3d.training.preparation import prepare_with_progress, split_settled
from kresp3d.ui.console import plain_console

if TYPE_CHECKING:
    import tensorflow as tf

    from kresp3d.training.checkpoint import Progress

# What imports TensorFlow is imported inside functions: that takes seconds, and a wrong path is said before.

logger = logging.getLogger("kresp3d")


def train(
    config: str | os.PathLike[str] | Config | Mapping[str, Any] | None = None,
    overrides: Overrides | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    until: int | None = None,
    console: Console | None = None,
) -> Run:
    """Train a network, and measure it on the test videos.

    Videos are prepared first, where that is not done. TensorFlow keeps what it has set up for as long as a process
    lives, so trainings of other precisions or devices belong in processes of their own.

    Examples:
        >>> run = kresp3d.train("configs/base.yaml", {"training.epochs": 5}, out="runs/short")
        >>> run.metrics["video_top1"]
        0.82

    Args:
        config: A YAML file; a configuration; or keys and values, laid over the defaults. `None` takes the one of `out`,
            to resume.
        overrides: Keys with values, such as `{"training.epochs": 5, "model.blocks": [1, 1]}`, laid over it; or one or
            several `KEY=VALUE` strings as of `--set`.
        out: The run folder; by default `runs/NAME` for the configuration's `name`.
        resume: Go on from the last finished epoch, if `out` holds a run. With more epochs, another learning rate or
            batch size and the like it goes on in a new phase, whose learning rate rises and falls over the epochs that
            are left.
        overwrite: Begin again in a folder that holds a run.
        until: Stop after this epoch, on the way to `training.epochs`; `resume` goes on.
        console: Where progress is printed; by default standard output, with bars on standard error. A quiet one,
            `rich.console.Console(quiet=True)`, silences both. Warnings go to the logger `kresp3d`.

    Returns:
        The trained network. On several hosts (`training.strategy: multi_worker`) each gets it, but only the first one
        has the run folder.

    Raises:
        UsageError: If the arguments or the configuration are not accepted, or differ from those of a resumed run.
        KrespError: If `out` holds something else or cannot be written into, there is nothing to train on, or the
            training fails; what was finished is kept.
    """
    if resume and overwrite:
        raise UsageError(f"{RESUME} and {OVERWRITE} exclude each other")
    until = None if until is None else whole_number("until (--until)", until)
    if out is not None:
        check_path(out, "the path of a run folder as out= (--out)")
    folder = None if out is None else location(out)
    if config is None:
        config = _config_of(folder, resume)
    name = str(config) if isinstance(config, str | os.PathLike) else "the configuration"
    config = make_config(config, () if overrides is None else overrides)
    if console is None:
        console = plain_console(soft_wrap=True)
    cluster = Cluster.of(config.training)
    if cluster is not None and not cluster.is_chief:
        return _train_along(config, cluster, console, until)
    run = RunFolder(folder or Path("runs") / config.name)
    resume = resume and run.config_file.is_file()
    if not resume:
        if config.compress.methods:
            # Before anything is deleted: this may be the configuration of the very run that would be overwritten.
            raise UsageError(
                f"{name} is of a run that compressed a network (compress.methods); begin another one by "
                "`kresp3d compress RUN`, or train from scratch with the override (--set) compress.methods=[]"
            )
        run.check_free(overwrite=overwrite)

    with run.locked():
        config = run.check_config(config) if resume else settle_precision(config)
        config, first = split_settled(config, quiet=console.quiet)
        records = prepare_with_progress(config.data, quiet=console.quiet)
        if not resume:
            check_videos(config, records)
        elif run.has_data:
            for change in changes_since(run, records):
                logger.warning("%s", change)
        strategy = _devices(config)
        config, notes = _ready(config, records, strategy, first, console)
        # Not before: a run that is to be replaced is kept where its videos, settings or the memory will not do.
        if not resume:
            check_profile(
                config.training, steps_per_epoch(len(records.split("train")), config) * config.training.epochs
            )
            run = RunFolder.create(run.path, config, notes, overwrite=overwrite)
        elif notes:
            run = run.settled(config, notes)
        return train_and_measure(run, records, console, resume=resume, until=until, config=config, strategy=strategy)


def _devices(config: Config) -> tf.distribute.Strategy | None:
    # Before all else, since devices cannot be made once TensorFlow has computed something.
    from kresp3d.training.strategy import make_strategy

    return make_strategy(config.training)


def _ready(
    config: Config,
    records: Records,
    strategy: tf.distribute.Strategy | None,
    first: Sequence[Choice],
    console: Console,
) -> tuple[Config, tuple[str, ...]]:
    """Settle what a configuration leaves to the videos, and tell it, once the training is known to fit into memory.

    Args:
        config: The configuration.
        records: The videos.
        strategy: The devices that train.
        first: What was settled already.
        console: Where the plan is printed.

    Returns:
        The configuration with nothing left at `auto`, and a note of each key that was settled.
    """
    from kresp3d.training.memory import check_memory

    def check(planned: Config) -> None:
        check_memory(planned, len(records.classes), sum(video.decoded for video in records.split("train")))

    if not config.auto and not first:
        check(config)
        return config, ()

    def measure(planned: Config) -> float:
        from kresp3d.training.rate import measure_clips_per_second

        check(planned)
        return measure_clips_per_second(planned, len(records.classes), strategy)

    # Several hosts must plan alike.
    measured = None if config.training.strategy == "multi_worker" else measure
    plan = settle(config, Videos.of(records, config), measured, first)
    if plan.rate is None:
        check(plan.config)
    tell(plan)
    console.print(str(plan))
    return plan.config, plan.notes


def _config_of(folder: Path | None, resume: bool) -> Path:
    """The configuration of a run that is resumed."""
    if folder is None or not resume:
        raise UsageError(
            f"expected a configuration (--config), such as 'base', or {RESUME} with a run folder as out= (--out)"
        )
    file = RunFolder(folder).config_file
    if not file.is_file():
        raise UsageError(f"{folder} holds no run to resume; expected a configuration (--config) to begin one")
    return file


def _train_along(config: Config, cluster: Cluster, console: Console, until: int | None) -> Run:
    """Train as one of several hosts, of which another one keeps the run and goes on with it."""
    from kresp3d.distributed.collectives import meet
    from kresp3d.inference.keras_engine import KerasEngine
    from kresp3d.training.session import train as fit

    console.print(f"Training as {cluster}; the run is with the first one, at {cluster.addresses[0]}.")
    # The chief is there when the videos are prepared, which it may have done for all hosts.
    config, first = split_settled(settle_precision(config), quiet=True)
    strategy = _devices(config)
    records = prepare_with_progress(config.data, quiet=console.quiet)
    # What a run has is here too, so that all workers do the same, and goes in the end.
    with tempfile.TemporaryDirectory(prefix="kresp3d-") as folder, reading(records.folder):
        config, notes = _ready(config, records, strategy, first, Console(quiet=True))
        run = RunFolder.create(Path(folder) / "run", config, notes)
        progress = fit(run, records, until=until, strategy=strategy, console=Console(quiet=True))
        trained = Run(KerasEngine(run), run.path)
    console.print(f"Trained as {cluster} up to epoch {progress.epoch}; the first one measures the network.")
    meet(strategy, cluster)
    return trained


def _nothing_to_do(run: RunFolder, progress: Progress) -> str:
    """What to say where a training was resumed of which all is done and measured."""
    training, epoch = run.config.training, progress.epoch
    again = f"to measure it again: `kresp3d evaluate {run.path}`"
    if not progress.is_finished(training, epochs_before(run.phases)):
        return f"{run.path} is trained up to epoch {epoch} of {training.epochs} and measured; go on without --until"
    further = f"to train on: `kresp3d train --resume --out {run.path} --set training.epochs={2 * epoch}`"
    if run.config.compress.methods:
        further = "a network that is being compressed cannot be trained on"
    elif epoch < training.epochs:
        further = f"to train on, set training.early_stop above {training.early_stop} or to null"
    return f"{run.path} is finished: {epoch} epochs are trained and measured; {further}; {again}"


def train_and_measure(
    run: RunFolder,
    records: Records,
    console: Console,
    *,
    resume: bool = False,
    until: int | None = None,
    config: Config | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> Run:
    """Train a run, which this process holds, and measure it; see `kresp3d.training.session.train`."""
    from kresp3d.evaluation.measure import measure
    from kresp3d.inference.keras_engine import KerasEngine
    from kresp3d.training.memory import what_helps
    from kresp3d.training.session import train as fit

    ended = (
        f"The training in {run.path} was killed, or a library ended it. If memory ran out: "
        f"{what_helps(config or run.config)}. What was finished is kept; go on by `kresp3d train --resume --out "
        f"{run.path}`"
    )
    training = (config or run.config).training
    cluster, strategy = Cluster.of(training), strategy or _devices(config or run.config)
    with reading(records.folder), last_words(ended):
        progress = fit(run, records, resume=resume, until=until, strategy=strategy, console=console, config=config)
    # With the configuration that it has now.
    run = RunFolder(run.path)
    engine = KerasEngine(run)
    split = run.config.evaluation.split
    if run.metrics_file.is_file():
        console.print(_nothing_to_do(run, progress))
    elif split in run.splits:
        measure(run, engine, split, run.config.evaluation.clips, console, command_line(), trained_in=run)
    else:
        console.print(f"No {split} videos: nothing is measured.")
    if run.config.compress.methods:
        from kresp3d.api.compression_report import report

        try:
            console.print(report(run))
        except KrespError as error:
            # The training is over, and whole.
            logger.warning("%s", error)
    if cluster is not None:
        from kresp3d.distributed.collectives import meet

        meet(strategy, cluster)
    return Run(engine, run.path)

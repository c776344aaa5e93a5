"""Training, from a configuration to a run folder."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from rich.console import Console

from kresp3d.clips.sampling import steps_per_epoch
from kresp3d.compression.methods import training_callback
from kresp3d.compression.pruning import KeepZeros
from kresp3d.config.schema import Config, TrainingConfig
from kresp3d.distributed.clip_service import clip_service, service_errors
from kresp3d.distributed.cluster import Cluster
from kresp3d.distributed.collectives import check_agreement
from kresp3d.inference.keras_engine import load_network_file
from kresp3d.nn import P3DResNet
from kresp3d.nn.transforms import recompute_blocks
from kresp3d.records.format import damage_named
from kresp3d.records.index import Records
from kresp3d.records.pipeline import Share, measure_rate, training_dataset
from kresp3d.runs.phases import epochs_before
from kresp3d.runs.run_folder import OVERWRITE, RESUME, RunFolder, code_digest, package_versions
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import remove
from kresp3d.system.text import clock
from kresp3d.training.averages import AveragedValidation
from kresp3d.training.callbacks import EpochEnd, LearningRate, NanStop, write_outcome
from kresp3d.training.checkpoint import Checkpoints, Progress
from kresp3d.training.class_weights import class_weights
from kresp3d.training.continued import continued, restored_by_chief, steps_at
from kresp3d.training.explanations import ExplainedClips
from kresp3d.training.loop import distributed, fit
from kresp3d.training.loss import SmoothedCrossEntropy
from kresp3d.training.optimizer import make_optimizer, make_schedule
from kresp3d.training.profiler import StepProfiler
from kresp3d.training.progress import TrainingDisplay
from kresp3d.training.strategy import make_strategy, share_of
from kresp3d.training.tensorboard import TensorBoardLog
from kresp3d.training.validation import ScoredModel, VideoScores, validation_data

#: What makes a training step smaller.
LESS_MEMORY = (
    "lower training.batch_size, or set training.gradient_checkpointing: true or training.precision: mixed_bfloat16"
)

#: What TensorFlow says, now this and now that, when another host is gone.
_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.InternalError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)

logger = logging.getLogger("kresp3d")


def train(
    run: RunFolder,
    records: Records,
    *,
    resume: bool = False,
    until: int | None = None,
    strategy: tf.distribute.Strategy | None = None,
    console: Console | None = None,
    config: Config | None = None,
) -> Progress:
    """Train the network of a run and leave it in its folder.

    Args:
        run: A folder with its configuration.
        records: The prepared videos.
        resume: Go on from the last checkpoint, if there is one.
        until: Stop after this epoch. The learning rate keeps to the schedule of the whole training, so that resuming
            leads to where one uninterrupted training would have.
        strategy: What `make_strategy` gave, where that was called before.
        console: Where progress is printed; standard output by default.
        config: What a training that is resumed goes on with, in a phase of its own if it trains otherwise; what
            `RunFolder.check_config` gave. By default what is in the folder, which has it afterwards.

    Returns:
        How far the training is.

    Raises:
        KrespError: If there is nothing to train on, the loss is no longer a finite number, or a training that kept a
            network has no checkpoint any more to resume from.
        UsageError: If `training.profile` begins after the last step, `training.early_stop` has no validation videos to
            go by, a new phase would have no epoch, or as `make_strategy`.
    """
    before, run = run, run.with_config(config or run.config)
    with damage_named(
        lambda: [record for split in sorted(run.splits) for record in run.records(split)], records.folder
    ):
        strategy = strategy or make_strategy(run.config.training)
        with losing_workers(run.config.training), service_errors():
            return _train(before, run, records, resume, until, strategy, console or Console())


def _train(
    before: RunFolder,
    run: RunFolder,
    records: Records,
    resume: bool,
    until: int | None,
    strategy: tf.distribute.Strategy | None,
    console: Console,
) -> Progress:
    config = run.config
    cluster = Cluster.of(config.training)
    share = share_of(strategy, cluster)
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)

    if not run.has_data:
        run.write_data(records)
    run.check_wiring()
    if cluster is not None:
        _check_agreement(strategy, cluster, run, until)
    train_videos = run.records("train")
    steps = steps_per_epoch(len(train_videos), config)
    scope = strategy.scope() if strategy else contextlib.nullcontext()
    with scope, dtype_policy(config.training.precision):
        network = _first_network(run)
        compression = training_callback(config.compress, network, steps * config.training.epochs)
        weights = class_weights(config, [video.label for video in train_videos], run.classes)
        model = compile_model(
            network, config.training, len(run.classes), steps, share.all_replicas, compression, weights
        )
        validation, model.video_scores = _validation(run, share)
    state = [] if compression is None else compression.variables
    checkpoints = Checkpoints(run.checkpoints, model, config.training.checkpoints, state)
    restored = checkpoints.restore() if resume else None
    how = continued(before, run, restored, int(model.optimizer.iterations.numpy()))
    phases = how.phases
    if cluster is not None:
        restored, phases = restored_by_chief(strategy, cluster, checkpoints, restored, phases)
    if resume and restored is None and run.model_file.is_file():
        raise KrespError(
            f"{run.path} has a network but no checkpoint to go on from; "
            f"measure it by `kresp3d evaluate {run.path}`, or train anew by {OVERWRITE}"
        )
    progress = restored or Progress()
    phase = phases[-1] if phases else None
    _check_profile(config.training, steps_at(config.training.epochs, phase, steps))
    noted = run.outcome
    with run.disk_errors():
        if resume:
            before.go_on(config, how)
        # What a kill between a checkpoint and the rest left undone, or another `training.keep` asks for.
        if progress.epoch:
            write_outcome(run, network, model, progress)
            if noted != run.outcome:
                remove(run.metrics_file)
    schedule = make_schedule(config.training, steps, phase)
    model.optimizer.learning_rate = schedule

    console.print(
        f"{network.name}: {network.count_params():,} parameters, {len(run.classes)} classes, "
        f"{len(train_videos)} training videos, {steps} steps of {config.training.batch_size} clips an epoch"
        + (f", {share.all_replicas} replicas" if share.all_replicas > 1 else "")
        + (f"; resuming after epoch {progress.epoch}" if progress.epoch else ""),
        highlight=False,
    )
    if phase is not None and phase.first_epoch == progress.epoch + 1:
        console.print(f"Phase {len(phases) + 1} begins with epoch {phase.first_epoch}: {phase}", highlight=False)
    last = config.training.epochs if until is None else min(until, config.training.epochs)
    if progress.is_finished(config.training, epochs_before(phases)) or progress.epoch >= last:
        return progress
    with run.disk_errors():
        # What was measured is no longer what the folder has.
        remove(run.metrics_file)
    # Not before: the videos may be decoded here, all of them.
    dataset = training_dataset(
        train_videos,
        run.records_folder,
        run.classes,
        config,
        first_epoch=progress.epoch,
        share=share,
        service=clip_service(config.data),
    )
    measure_rate(dataset, seconds=1.0)
    display = TrainingDisplay(last, steps * config.training.batch_size, console)
    board = TensorBoardLog(
        run,
        network,
        progress,
        _first_clips(dataset, config.training.tensorboard_clips),
        model.video_scores,
        _explained_clips(run),
        lambda: display.speed,
    )
    callbacks: list[keras.callbacks.Callback] = [
        NanStop(),
        *([] if compression is None else [compression]),
        LearningRate(schedule),
        AveragedValidation(),
        board,
        EpochEnd(run, network, checkpoints, progress, phases),
        display,
    ]
    # Each is closed even if another cannot be.
    closing = contextlib.ExitStack()
    closing.callback(board.close)
    closing.callback(display.close)
    if config.training.profile is not None:
        profiler = StepProfiler(run.logs, config.training.profile, steps_at(progress.epoch, phase, steps))
        callbacks.append(profiler)
        closing.callback(profiler.stop)
    try:
        fit(
            model,
            distributed(dataset, strategy),
            None if validation is None else distributed(validation, strategy),
            steps=steps,
            epochs=last,
            first_epoch=progress.epoch,
            callbacks=callbacks,
        )
    except tf.errors.ResourceExhaustedError as error:
        raise KrespError(
            f"memory ran out in a training step ({' '.join(error.message.split())[:150]}): {LESS_MEMORY}; what was "
            "finished is kept"
        ) from error
    except KeyboardInterrupt:
        console.print(f"Interrupted after epoch {progress.epoch}; go on with {RESUME}.")
        raise
    finally:
        closing.close()
    kept = progress.kept_epoch(config.training)
    score = progress.history[kept - 1].get("val_top1")
    console.print(
        f"Trained {progress.epoch} epochs in {clock(progress.seconds)}; kept epoch {kept}"
        + ("." if score is None else f", validation top-1 {score:.3f}."),
        highlight=False,
    )
    return progress


def _check_agreement(strategy: tf.distribute.Strategy, cluster: Cluster, run: RunFolder, until: int | None) -> None:
    # Not the fingerprint of the videos: it tells a copy from its original by the time of the file.
    videos = [
        [split, *((r.name, r.label, r.frames, r.height, r.width) for r in run.records(split))]
        for split in sorted(run.splits)
    ]
    values = {
        "settings": run.config.to_yaml(),
        "--until": str(until),
        "videos": str([run.classes, videos]),
        "code of kresp3d": code_digest(),
        "versions of packages": str(package_versions()),
    }
    check_agreement(strategy, cluster, values)


@contextlib.contextmanager
def losing_workers(config: TrainingConfig) -> Iterator[None]:
    """Turn what TensorFlow says when another host is gone into a sentence."""
    try:
        yield
    except _GONE as error:
        if config.strategy != "multi_worker":
            raise
        lines = [line.strip() for line in error.message.splitlines() if line.strip()]
        reason = next((line for line in lines if "aborted by" in line), lines[-1] if lines else "")
        raise KrespError(
            "another worker has ended, or cannot be reached any more; what was finished is kept. Start the same "
            f"command on all hosts again, with {RESUME}. TensorFlow says: {reason[:200]}"
        ) from error


def _first_network(run: RunFolder) -> keras.Model:
    """The network that training begins with."""
    if run.start_file.is_file():
        return load_network_file(run.start_file)
    if run.config.compress.methods:
        raise UsageError(
            f"{run.path} has no network to compress (start.keras); begin by `kresp3d compress RUN`, which also sets "
            "compress.methods"
        )
    return P3DResNet(classes=len(run.classes), **dict(run.config.model))


def compile_model(
    network: keras.Model,
    config: TrainingConfig,
    classes: int,
    steps: int,
    replicas: int = 1,
    compression: KeepZeros | None = None,
    class_weights: npt.NDArray[np.float32] | None = None,
) -> ScoredModel:
    """Give a network its loss, optimiser and metrics.

    Args:
        network: A `P3DResNet`, or what a transform made of one.
        config: How it is trained.
        classes: Number of classes.
        steps: Training steps in an epoch.
        replicas: Among which the clips of a step are shared out.
        compression: What compresses the network meanwhile.
        class_weights: What the loss of each class is multiplied by, float32 `[classes]`.

    Returns:
        A second model on the same layers, so that what is saved of `network` holds no optimiser or loss.
    """
    graph = recompute_blocks(network) if config.gradient_checkpointing else network
    model = ScoredModel(graph.input, graph.output, name=network.name)
    if compression is not None:
        # Which sees the kernels as they are; the layers cast them for themselves.
        model.dtype_policy = "float32"
        model.kernel_values, model.others = compression.kernel_values, compression.trained
    optimizer = make_optimizer(config, steps, replicas)
    model.compile(
        optimizer=optimizer,
        loss=SmoothedCrossEntropy(config.label_smoothing, class_weights),
        # Clips have weights in the validation of several replicas, and nowhere else.
        weighted_metrics=[
            keras.metrics.SparseCategoricalAccuracy("top1"),
            keras.metrics.SparseTopKCategoricalAccuracy(min(5, classes), name="top5"),
        ],
        jit_compile=config.jit_compile,
        auto_scale_loss=config.precision == "mixed_float16",
    )
    model.optimizer.build(model.trainable_variables)
    return model


def _validation(run: RunFolder, share: Share) -> tuple[tf.data.Dataset | None, VideoScores | None]:
    if "validation" not in run.splits:
        if run.config.training.early_stop is not None:
            raise UsageError(
                "training.early_stop needs validation videos, and there are none: set data.validation above 0, or "
                "training.early_stop: null"
            )
        logger.warning("no validation videos: the last epoch is kept, not the best")
        return None, None
    return validation_data(run, share)


def _check_profile(config: TrainingConfig, total: int) -> None:
    if config.profile is not None and config.profile[0] >= total:
        raise UsageError(
            f"training.profile begins at step {config.profile[0]}, but this training has {total} steps, counted from "
            "0; profile earlier ones"
        )


def _first_clips(dataset: tf.data.Dataset, count: int) -> np.ndarray[Any, Any]:
    """At most `count` clips of the first step."""
    # Each replica's are in a batch of their own.
    found: list[np.ndarray[Any, Any]] = []
    for inputs, _ in dataset.take(max(1, count)):
        found.append(inputs["frames"].numpy())
        if sum(map(len, found)) >= count:
            break
    return np.concatenate(found)[:count]


def _explained_clips(run: RunFolder) -> ExplainedClips | None:
    training = run.config.training
    is_wanted = training.tensorboard_clips and training.tensorboard_every
    return ExplainedClips.of(run, training.tensorboard_clips) if is_wanted else None


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Within the block layers are made with this policy, such as `mixed_bfloat16`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

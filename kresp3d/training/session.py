"""Training, from a configuration to a run folder: what is trained is built, brought to where it was, and run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
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
from kresp3d.records.format import damage_named
from kresp3d.records.index import Record, Records
from kresp3d.records.pipeline import Share, training_dataset
from kresp3d.runs.phases import Phase, epochs_before
from kresp3d.runs.run_folder import OVERWRITE, RESUME, RunFolder, code_digest, package_versions
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import remove
from kresp3d.system.text import clock
from kresp3d.training.averages import AveragedValidation
from kresp3d.training.callbacks import EpochEnd, LearningRate, NanStop, write_outcome
from kresp3d.training.checkpoint import Checkpoints, Progress
from kresp3d.training.checks import check_early_stop, check_profile
from kresp3d.training.class_weights import class_weights
from kresp3d.training.compiled import compile_model, dtype_policy
from kresp3d.training.continued import continued, restored_by_chief, steps_at
from kresp3d.training.explanations import ExplainedClips
from kresp3d.training.loop import distributed, fit
from kresp3d.training.memory import what_helps
from kresp3d.training.optimizer import make_schedule
from kresp3d.training.profiler import StepProfiler
from kresp3d.training.progress import TrainingDisplay
from kresp3d.training.strategy import make_strategy, share_of
from kresp3d.training.tensorboard import TensorBoardLog
from kresp3d.training.validation import ScoredModel, VideoScores, validation_data
from kresp3d.ui.console import plain_console

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
    console = console or plain_console()
    with damage_named(
        lambda: [record for split in sorted(run.splits) for record in run.records(split)], records.folder
    ):
        strategy = strategy or make_strategy(run.config.training)
        with losing_workers(run.config.training), service_errors():
            if not run.has_data:
                run.write_data(records)
            run.check_wiring()
            session = Session.build(run, strategy, until)
            session.restore(before, resume)
            session.say_what_is_trained(console)
            last = run.config.training.epochs if until is None else min(until, run.config.training.epochs)
            if not session.is_finished and session.progress.epoch < last:
                session.run_until(last, console)
            return session.progress


@dataclass
class Session:
    """A network in training.

    Args:
        run: The run's folder, with the configuration that it is trained by.
        strategy: The devices that train it; `None` for one.
        cluster: The hosts that train it; `None` for one.
        share: The clips of each step that this process computes.
        videos: The training videos.
        steps: Of an epoch.
        network: The network without optimiser, which is kept.
        model: The same layers with loss, optimiser and metrics.
        compression: What compresses the network meanwhile.
        validation: Its batches; `None` without validation videos.
        checkpoints: The states to resume from.
        progress: How far it is.
        phases: Those after the first.
    """

    run: RunFolder
    strategy: tf.distribute.Strategy | None
    cluster: Cluster | None
    share: Share
    videos: Sequence[Record]
    steps: int
    network: keras.Model
    model: ScoredModel
    compression: KeepZeros | None
    validation: tf.data.Dataset | None
    checkpoints: Checkpoints
    progress: Progress
    phases: Sequence[Phase] = ()

    @classmethod
    def build(cls, run: RunFolder, strategy: tf.distribute.Strategy | None, until: int | None) -> Session:
        """Build the network that training begins with.

        Args:
            run: A folder with its configuration and the table of its videos.
            strategy: What `make_strategy` gave.
            until: The last epoch, on which several hosts have to agree.
        """
        config = run.config
        cluster = Cluster.of(config.training)
        share = share_of(strategy, cluster)
        if config.training.deterministic:
            tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(config.seed)
        if cluster is not None:
            _check_agreement(strategy, cluster, run, until)
        videos = run.records("train")
        steps = steps_per_epoch(len(videos), config)
        scope = strategy.scope() if strategy else contextlib.nullcontext()
        with scope, dtype_policy(config.training.precision):
            network = _first_network(run)
            compression = training_callback(config.compress, network, steps * config.training.epochs)
            weights = class_weights(config, [video.label for video in videos], run.classes)
            model = compile_model(
                network, config.training, len(run.classes), steps, share.all_replicas, compression, weights
            )
            validation, model.video_scores = _validation(run, share)
        state = [] if compression is None else compression.variables
        checkpoints = Checkpoints(run.checkpoints, model, config.training.checkpoints, state)
        return cls(
            *(run, strategy, cluster, share, videos, steps, network, model, compression, validation, checkpoints),
            Progress(),
        )

    @property
    def phase(self) -> Phase | None:
        """The present phase; `None` in the first."""
        return self.phases[-1] if self.phases else None

    @property
    def is_finished(self) -> bool:
        """Whether no epoch is left."""
        return self.progress.is_finished(self.run.config.training, epochs_before(self.phases))

    @property
    def schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        """The learning rate of each step of the present phase."""
        return make_schedule(self.run.config.training, self.steps, self.phase)

    def restore(self, before: RunFolder, resume: bool) -> None:
        """Go to where the training was, and give the optimiser the learning rates from there on.

        Args:
            before: The run with the configuration that it had.
            resume: Whether there may be something to go on from.

        Raises:
            KrespError: If a training that kept a network has no checkpoint any more.
            UsageError: If a new phase would have no epoch, or `training.profile` begins after the last step.
        """
        run, config = self.run, self.run.config
        restored = self.checkpoints.restore() if resume else None
        how = continued(before, run, restored, int(self.model.optimizer.iterations.numpy()))
        self.phases = how.phases
        if self.cluster is not None:
            restored, self.phases = restored_by_chief(
                self.strategy, self.cluster, self.checkpoints, restored, self.phases
            )
        if resume and restored is None and run.model_file.is_file():
            raise KrespError(
                f"{run.path} has a network but no checkpoint to go on from; "
                f"measure it by `kresp3d evaluate {run.path}`, or train anew by {OVERWRITE}"
            )
        self.progress = restored or self.progress
        check_profile(config.training, steps_at(config.training.epochs, self.phase, self.steps))
        noted = run.outcome
        with run.disk_errors():
            if resume:
                before.go_on(config, how)
            # What a kill between a checkpoint and the rest left undone, or another `training.keep` asks for.
            if self.progress.epoch:
                write_outcome(run, self.network, self.model, self.progress)
                if noted != run.outcome:
                    remove(run.metrics_file)
        self.model.optimizer.learning_rate = self.schedule

    def say_what_is_trained(self, console: Console) -> None:
        """Print a line, and one more where a phase begins."""
        network, epoch, phase = self.network, self.progress.epoch, self.phase
        console.print(
            f"{network.name}: {network.count_params():,} parameters, {len(self.run.classes)} classes, "
            f"{len(self.videos)} training videos, {self.steps} steps of {self.run.config.training.batch_size} clips an "
            "epoch"
            + (f", {self.share.all_replicas} replicas" if self.share.all_replicas > 1 else "")
            + (f"; resuming after epoch {epoch}" if epoch else ""),
            highlight=False,
        )
        if phase is not None and phase.first_epoch == epoch + 1:
            console.print(
                f"Phase {len(self.phases) + 1} begins with epoch {phase.first_epoch}: {phase}", highlight=False
            )

    def run_until(self, last: int, console: Console) -> None:
        """Train up to the end of an epoch, or until nothing gets better.

        Raises:
            KrespError: If memory runs out, or the loss is no longer a finite number.
        """
        run, training, progress = self.run, self.run.config.training, self.progress
        with run.disk_errors():
            # What was measured is no longer what the folder has.
            remove(run.metrics_file)
        # Not before: the videos may be decoded here, all of them.
        dataset = self._dataset()
        # Each is closed even if another cannot be.
        with contextlib.ExitStack() as closing:
            callbacks = self._callbacks(dataset, last, console, closing)
            try:
                fit(
                    self.model,
                    distributed(dataset, self.strategy),
                    None if self.validation is None else distributed(self.validation, self.strategy),
                    steps=self.steps,
                    epochs=last,
                    first_epoch=progress.epoch,
                    callbacks=callbacks,
                )
            except tf.errors.ResourceExhaustedError as error:
                raise KrespError(
                    f"memory ran out in a training step ({' '.join(error.message.split())[:150]}): "
                    f"{what_helps(run.config)}; what was finished is kept"
                ) from error
            except KeyboardInterrupt:
                console.print(f"Interrupted after epoch {progress.epoch}; go on with {RESUME}.")
                raise
        kept = progress.kept_epoch(training)
        score = progress.history[kept - 1].get("val_top1")
        console.print(
            f"Trained {progress.epoch} epochs in {clock(progress.seconds)}; kept epoch {kept}"
            + ("." if score is None else f", validation top-1 {score:.3f}."),
            highlight=False,
        )

    def _dataset(self) -> tf.data.Dataset:
        return training_dataset(
            self.videos,
            self.run.records_folder,
            self.run.classes,
            self.run.config,
            first_epoch=self.progress.epoch,
            share=self.share,
            service=clip_service(self.run.config.data),
        )

    def _callbacks(
        self, dataset: tf.data.Dataset, last: int, console: Console, closing: contextlib.ExitStack
    ) -> list[keras.callbacks.Callback]:
        """What happens beside the steps, in this order; what has to be closed is in `closing`."""
        training = self.run.config.training
        display = TrainingDisplay(last, self.steps * training.batch_size, console)
        board = TensorBoardLog(
            self.run,
            self.network,
            self.progress,
            _first_clips(dataset, training.tensorboard_clips),
            self.model.video_scores,
            _explained_clips(self.run),
            lambda: display.speed,
        )
        callbacks: list[keras.callbacks.Callback] = [
            NanStop(),
            *([] if self.compression is None else [self.compression]),
            LearningRate(self.schedule),
            AveragedValidation(),
            board,
            EpochEnd(self.run, self.network, self.checkpoints, self.progress, self.phases),
            display,
        ]
        closing.callback(board.close)
        closing.callback(display.close)
        if training.profile is not None:
            begun = steps_at(self.progress.epoch, self.phase, self.steps)
            profiler = StepProfiler(self.run.logs, training.profile, begun)
            callbacks.append(profiler)
            closing.callback(profiler.stop)
        return callbacks


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


def _validation(run: RunFolder, share: Share) -> tuple[tf.data.Dataset | None, VideoScores | None]:
    if "validation" not in run.splits:
        check_early_stop(run.config.training, has_validation=False)
        if run.config.training.keep == "best":
            logger.warning("no validation videos: the last epoch is kept, not the best")
        return None, None
    return validation_data(run, share)


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

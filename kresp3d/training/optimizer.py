"""The optimiser: SGD with momentum or AdamW, with warm-up and cosine decay."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kresp3d.config.schema import TrainingConfig
from kresp3d.runs.phases import Phase


class TrainingOptimizer(keras.optimizers.Optimizer):
    """What this project's optimisers do otherwise than Keras'.

    `global_clipnorm` sees the gradient of the whole batch when there are several replicas. Keras clips what each
    replica computed and sums afterwards, so that the result depends on how many there are; here the sum is taken first.

    The moving average of the weights reaches back no further than there is something to average: in step `t`, from 0,
    its decay is at most `(1 + t) / (10 + t)`.
    """

    ema_momentum: Any

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        context = tf.distribute.get_replica_context()
        if self.global_clipnorm and context is not None and context.num_replicas_in_sync > 1:
            # The base class sums over replicas after clipping: a mean now, clipped to a share of the norm, gives
            # the clipped sum then.
            grads = context.all_reduce(tf.distribute.ReduceOp.MEAN, list(grads))
        return super().apply(grads, trainable_variables)

    def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
        decay, step = self.ema_momentum, keras.ops.cast(self.iterations, "float32")
        self.ema_momentum = keras.ops.minimum(decay, (1 + step) / (10 + step))
        try:
            super()._update_model_variables_moving_average(trainable_variables)
        finally:
            self.ema_momentum = decay


@keras.saving.register_keras_serializable(package="kresp3d")
class SGD(TrainingOptimizer, keras.optimizers.SGD):
    """SGD with momentum."""


@keras.saving.register_keras_serializable(package="kresp3d")
class AdamW(TrainingOptimizer, keras.optimizers.AdamW):
    """AdamW."""


@keras.saving.register_keras_serializable(package="kresp3d")
class LaterSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that begins at a later step.

    Args:
        schedule: Learning rate of each step, counted from `first_step`.
        first_step: Its first one.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, first_step: int) -> None:
        super().__init__()
        self.schedule = schedule
        self.first_step = first_step

    def __call__(self, step: Any) -> Any:
        return self.schedule(step - self.first_step)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "first_step": self.first_step}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LaterSchedule:
        """Make one of what `get_config` gave."""
        return cls(**{**config, "schedule": keras.optimizers.schedules.deserialize(config["schedule"])})


def make_schedule(
    config: TrainingConfig, steps_per_epoch: int, phase: Phase | None = None
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up, then a cosine to 0 at the end of the last epoch.

    Of `n` warm-up steps, step `k` (from 0) has the rate `learning_rate * (k + 1) / n`, so that the first one moves the
    weights and the last one has the full rate.

    Args:
        config: Its epochs, rate and warm-up.
        steps_per_epoch: Training steps in an epoch.
        phase: The one that is trained, over whose epochs the schedule goes; `None` for the first.
    """
    if phase is not None:
        left = config.model_copy(update={"epochs": config.epochs - phase.first_epoch + 1})
        return LaterSchedule(make_schedule(left, steps_per_epoch), phase.first_step)
    total = config.epochs * steps_per_epoch
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total)
    if warmup < 2:
        return keras.optimizers.schedules.CosineDecay(config.learning_rate, total)
    rise = warmup - 1
    return keras.optimizers.schedules.CosineDecay(
        config.learning_rate / warmup, total - rise, warmup_target=config.learning_rate, warmup_steps=rise
    )


def make_optimizer(config: TrainingConfig, steps_per_epoch: int, replicas: int = 1) -> keras.optimizers.Optimizer:
    """Build the optimiser. Biases and batch norms are not decayed."""
    options: dict[str, Any] = {
        "learning_rate": make_schedule(config, steps_per_epoch),
        "weight_decay": config.weight_decay,
        "global_clipnorm": config.clip_norm and config.clip_norm / replicas,
    }
    if config.ema is not None:
        options |= {"use_ema": True, "ema_momentum": config.ema}
    optimizer: keras.optimizers.Optimizer
    if config.optimizer == "adamw":
        optimizer = AdamW(beta_1=config.momentum, **options)
    else:
        optimizer = SGD(momentum=config.momentum, nesterov=config.nesterov, **options)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "centroids"])
    return optimizer

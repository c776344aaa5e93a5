"""The state of a training, written after every epoch and restored by `--resume`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from kresp3d.config import TrainingConfig


@dataclass
class Progress:
    """How far a training is: plain values that go into each checkpoint beside the variables."""

    epoch: int = 0
    """Finished epochs."""
    best_epoch: int = 0
    best_score: tuple[float, float] = (-1.0, 0.0)
    """Validation top-1, then minus the validation loss, which decides between equals."""
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def is_finished(self, config: TrainingConfig) -> bool:
        """Whether all epochs are done, or the score has not risen for `early_stop` of them."""
        patience = config.early_stop or config.epochs
        return self.epoch >= config.epochs or self.epoch - self.best_epoch >= patience

    def kept_epoch(self, config: TrainingConfig) -> int:
        """The epoch whose network is `model.keras`."""
        return self.epoch if config.keep == "last" else self.best_epoch

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "best_score": tuple(values["best_score"])})

    def to_json(self) -> str:
        """Plain text for a checkpoint."""
        return json.dumps(asdict(self))


class Checkpoints:
    """All variables of a model and its optimiser, with the progress, in one TensorFlow checkpoint.

    The variables are named one by one: a checkpoint of the model object leaves out the state of dropout's random
    numbers, and a resumed training would then differ from an uninterrupted one.

    Args:
        folder: Where the checkpoints are; the last one is kept, and the one before until the new one is whole.
        model: A compiled model whose optimiser is built.
    """

    def __init__(self, folder: Path, model: keras.Model) -> None:
        self._progress = tf.Variable("", dtype=tf.string, trainable=False)
        variables = [*model.variables, *model.optimizer.variables]
        unique = {id(v): getattr(v, "value", v) for v in variables}
        checkpoint = tf.train.Checkpoint(progress=self._progress, variables=list(unique.values()))
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=1, checkpoint_name="epoch")
        self._checkpoint = checkpoint

    def save(self, progress: Progress) -> None:
        """Write the present state."""
        self._progress.assign(progress.to_json())
        self._manager.save(checkpoint_number=progress.epoch)

    def restore(self) -> Progress | None:
        """Bring back the last whole state; `None` where there is none."""
        latest = self._manager.latest_checkpoint
        if latest is None:
            return None
        self._checkpoint.restore(latest).assert_consumed()
        return Progress.from_json(self._progress.numpy().decode())

"""The state of a training, written after every epoch and restored by `--resume`."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from kresp3d.config import TrainingConfig
from kresp3d.errors import KrespError
from kresp3d.run_folder import remove

#: Checkpoints are called this and the epoch's number.
_NAME = "epoch"

logger = logging.getLogger("kresp3d")


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
        folder: Where the checkpoints are.
        model: A compiled model whose optimiser is built.
        keep: So many of the last are kept, and one more until the new one is whole.
    """

    def __init__(self, folder: Path, model: keras.Model, keep: int = 1) -> None:
        self._progress = tf.Variable("", dtype=tf.string, trainable=False)
        variables = [*model.variables, *model.optimizer.variables]
        unique = {id(v): getattr(v, "value", v) for v in variables}
        checkpoint = tf.train.Checkpoint(progress=self._progress, variables=list(unique.values()))
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=keep, checkpoint_name=_NAME)
        self._checkpoint = checkpoint
        kept = {Path(path).name for path in self._manager.checkpoints}
        # What a kill has left: a checkpoint in the making, or one that was to be deleted.
        for path in folder.glob(f"{_NAME}-*"):
            if path.name.split(".")[0] not in kept:
                remove(path)

    def save(self, progress: Progress) -> None:
        """Write the present state."""
        self._progress.assign(progress.to_json())
        self._manager.save(checkpoint_number=progress.epoch)

    def restore(self) -> Progress | None:
        """Bring back the last state that is whole; `None` where there is none.

        Raises:
            KrespError: If there are checkpoints, but every one is damaged.
        """
        checkpoints = self._manager.checkpoints[::-1]
        for path in checkpoints:
            try:
                self._checkpoint.restore(path).assert_consumed()
                return Progress.from_json(self._progress.numpy().decode())
            # What TensorFlow raises for a file that is missing, cut off or has a wrong checksum.
            except (tf.errors.OpError, ValueError, IndexError) as error:
                logger.warning("the checkpoint %s is damaged: %s", path, " ".join(str(error).split())[:200])
        if checkpoints:
            raise KrespError(
                f"every checkpoint in {Path(checkpoints[0]).parent} is damaged: there is nothing to go on from; train "
                "anew by --overwrite"
            )
        return None

"""The state of a training, written after every epoch and restored by `--resume`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from kresp3d.config.schema import TrainingConfig
from kresp3d.runs.run_folder import OVERWRITE
from kresp3d.system.errors import KrespError
from kresp3d.system.files import PART, at_hand, publish, put_together, remove

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

    def is_finished(self, config: TrainingConfig, before: int = 0) -> bool:
        """Whether all epochs are done, or the score has not risen for `early_stop` of them.

        Args:
            config: How many epochs, and how much patience.
            before: Epochs before the present phase, in which patience begins anew.
        """
        patience = config.early_stop or config.epochs
        return self.epoch >= config.epochs or self.epoch - max(self.best_epoch, before) >= patience

    def kept_epoch(self, config: TrainingConfig) -> int:
        """The epoch whose network is `model.keras`."""
        return self.epoch if config.keep == "last" else self.best_epoch

    def count_best_from_here(self) -> None:
        """Take the last finished epoch for the best so far."""
        self.best_epoch, self.best_score = self.epoch, score_of(self.history[-1])

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "best_score": tuple(values["best_score"])})

    def to_json(self) -> str:
        """Plain text for a checkpoint."""
        return json.dumps(asdict(self))


def score_of(figures: Mapping[str, float]) -> tuple[float, float]:
    """What epochs are compared by: see `Progress.best_score`; all are equal without validation."""
    return (figures["val_top1"], -figures["val_loss"]) if "val_top1" in figures else (0.0, 0.0)


class Checkpoints:
    """All variables of a model and its optimiser, with the progress, in TensorFlow's checkpoints.

    The variables are named one by one: a checkpoint of the model object leaves out the state of dropout's random
    numbers, and a resumed training would then differ from an uninterrupted one. Nor is TensorFlow's manager of
    checkpoints used: it goes by the time of day, and forgets those that a clock set back puts into the future.

    Args:
        folder: Where the checkpoints are; made with the first one.
        model: A compiled model whose optimiser is built.
        keep: So many of the last are kept, and one more until the new one is whole.
        others: Variables that belong to the state besides.
    """

    def __init__(self, folder: Path, model: keras.Model, keep: int = 1, others: Sequence[tf.Variable] = ()) -> None:
        self._folder = folder
        self._keep = keep
        self._progress = tf.Variable("", dtype=tf.string, trainable=False)
        variables = [*model.variables, *model.optimizer.variables, *others]
        if isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            # Metrics, which begin anew in each epoch, take all hosts to be read; see `loop`.
            metrics = {id(v) for v in model.metrics_variables}
            variables = [v for v in variables if id(v) not in metrics]
        # What compresses a network names some of them too, by the variables behind Keras' own.
        behind = [v.value if isinstance(v, keras.Variable) else v for v in variables]
        unique = {id(v): v for v in behind}
        #: All of them but the progress.
        self.variables: list[tf.Variable] = list(unique.values())
        self._checkpoint = tf.train.Checkpoint(progress=self._progress, variables=self.variables)

    def save(self, progress: Progress) -> None:
        """Write the present state, and delete those that are no longer kept.

        Raises:
            OSError, tf.errors.OpError: If it cannot be written; those before are still there then.
        """
        self._progress.assign(progress.to_json())
        name = f"{_NAME}-{progress.epoch}"
        self._folder.mkdir(parents=True, exist_ok=True)
        with put_together(self._folder, f"{PART}{name}-") as aside:
            self._checkpoint.write(str(aside / name))
            # The data before the index, which makes a checkpoint of it.
            for path in sorted(aside.iterdir()):
                publish(path, self._folder / path.name)
        self._clear()

    def restore(self) -> Progress | None:
        """Bring back the last state that is whole; `None` where there is none.

        Raises:
            KrespError: If there are checkpoints, but every one is damaged, or the last whole one is of another network,
                optimiser or version of kresp3d.
        """
        epochs = self._epochs()
        for epoch in epochs:
            path = self._folder / f"{_NAME}-{epoch}"
            try:
                with at_hand(*sorted(self._folder.glob(f"{path.name}.*"))) as file:
                    name = str(file.with_name(path.name))
                    self._check(tf.train.load_checkpoint(name), path)
                    self._checkpoint.read(name).assert_consumed()
                return self._restored_progress(path)
            # What TensorFlow raises for a file that is missing, cut off or has a wrong checksum.
            except (tf.errors.OpError, FileNotFoundError, ValueError, IndexError) as error:
                logger.warning("the checkpoint %s is damaged: %s", path, " ".join(str(error).split())[:200])
        if epochs:
            raise KrespError(
                f"every checkpoint in {self._folder} is damaged: there is nothing to go on from; train anew by "
                f"{OVERWRITE}"
            )
        return None

    def _check(self, reader: tf.train.CheckpointReader, path: Path) -> None:
        """Make sure that a checkpoint has just these variables, before any of them is changed."""
        dtypes = reader.get_variable_to_dtype_map()
        found = {
            key: f"{dtypes[key].name} {shape}"
            for key, shape in reader.get_variable_to_shape_map().items()
            if key.startswith("variables/")
        }
        expected = {
            f"variables/{number}/.ATTRIBUTES/VARIABLE_VALUE": f"{variable.dtype.name} {variable.shape.as_list()}"
            for number, variable in enumerate(self.variables)
        }
        if len(found) != len(expected):
            raise _foreign(path, f"it has {len(found)} variables, expected {len(expected)}")
        for (key, value), variable in zip(expected.items(), self.variables, strict=True):
            if found.get(key) != value:
                raise _foreign(path, f"{variable.name} is {found.get(key, 'missing')}, expected {value}")

    def _restored_progress(self, path: Path) -> Progress:
        try:
            return Progress.from_json(self._progress.numpy().decode())
        except (TypeError, LookupError) as error:
            raise _foreign(path, f"its progress cannot be read: {error}") from error

    def _epochs(self) -> list[int]:
        """The epochs of the checkpoints, last first."""
        numbers = (path.stem.removeprefix(f"{_NAME}-") for path in self._folder.glob(f"{_NAME}-*.index"))
        return sorted((int(number) for number in numbers if number.isdecimal()), reverse=True)

    def _clear(self) -> None:
        """Delete older checkpoints, and what a kill has left: one in the making, or half deleted."""
        kept = {f"{_NAME}-{epoch}" for epoch in self._epochs()[: self._keep]}
        # The index goes first.
        for path in sorted(self._folder.glob(f"*{_NAME}-*"), key=lambda path: path.suffix != ".index"):
            if path.name.split(".")[0] not in kept:
                remove(path)


def _foreign(path: Path, reason: str) -> KrespError:
    return KrespError(
        f"the checkpoint {path} is of another network, optimiser or version of kresp3d ({reason}); resume with the "
        f"version that began the run, or train from scratch by {OVERWRITE}"
    )

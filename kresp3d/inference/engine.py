"""What computes class scores from clips."""

from __future__ import annotations

import zipfile
import zlib
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

import kresp3d.layers  # noqa: F401  (a saved network names its layers, and Keras finds them by this import)
from kresp3d.errors import KrespError
from kresp3d.run_folder import RunFolder


class Engine(Protocol):
    """Anything that scores clips."""

    def probabilities(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Softmax scores `[B, classes]` of clips, uint8 `[B, T + s, S, S, 3]`."""
        ...


class KerasEngine:
    """The trained network of a run.

    Args:
        run: A run whose training has kept a network.

    Raises:
        KrespError: If the run has no network yet, or its file cannot be loaded.
    """

    def __init__(self, run: RunFolder) -> None:
        if not run.model_file.is_file():
            raise KrespError(f"{run.path} has no trained network yet (model.keras); finish an epoch of training first")
        try:
            with zipfile.ZipFile(run.model_file) as file:
                damaged = file.testzip()
            if damaged:
                raise zipfile.BadZipFile(f"{damaged} has a wrong checksum")
            network = keras.models.load_model(run.model_file, compile=False)
        except (ValueError, OSError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise KrespError(
                f"{run.model_file} cannot be loaded ({reason}); expected a network saved by `kresp3d train`"
            ) from error
        self.network = network
        shape = network.input["frames"].shape if isinstance(network.input, dict) else network.input.shape
        signature = [tf.TensorSpec(shape, tf.uint8)]

        # One signature for batches of every size: the last, smaller one is not traced again.
        def forward(frames: Any) -> Any:
            return tf.nn.softmax(network({"frames": frames}, training=False))

        self._forward = tf.function(forward, input_signature=signature, autograph=False)

    def probabilities(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Softmax scores `[B, classes]` of clips, uint8 `[B, T + s, S, S, 3]`."""
        scores: npt.NDArray[np.float32] = self._forward(tf.convert_to_tensor(frames)).numpy()
        return scores

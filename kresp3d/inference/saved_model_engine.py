"""A network exported as a SavedModel, run by TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kresp3d.inference.engine import Engine
from kresp3d.inference.saved_model_check import check_file, check_function
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.system.errors import KrespError

#: Where `write_saved_model` puts the description. TensorFlow leaves `assets.extra` alone.
INFO_FILE = "assets.extra/kresp3d.json"


class SavedModelEngine(Engine):
    """The signature `serving_default` of a SavedModel that `kresp3d export` wrote.

    Args:
        folder: The SavedModel's own folder, which holds `saved_model.pb`.

    Raises:
        KrespError: If it is damaged, or was not written by `kresp3d export`.
    """

    def __init__(self, folder: Path) -> None:
        check_path(folder)
        super().__init__(_read_info(folder))
        # The signature's variables live as long as what it was loaded with.
        self._loaded = _load(folder)
        self._signature = self._loaded.signatures["serving_default"]
        check_function(self._signature, folder)
        clip, classes = self.info.clip.shape, len(self.info.labels)
        if _shapes(self._signature) != ([None, *clip], [None, classes]):
            raise KrespError(
                f"{folder} carries the description of another network (clips {list(clip)}, {classes} classes); "
                "export the run again"
            )

    def _score(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = self._signature(frames=tf.constant(frames))["probabilities"].numpy()
        return scores


def check_path(folder: Path) -> None:
    """Make sure that TensorFlow takes a path for the name that it is.

    Raises:
        KrespError: If it would look for a pattern instead, find nothing, and say that the files are missing.
    """
    signs = sorted(set(str(folder)) & set("[]*?"))
    if signs:
        raise KrespError(
            f"{folder}: TensorFlow cannot read a SavedModel from a path with {' and '.join(signs)} in it, which it "
            "takes for a pattern; use another folder"
        )


def _read_info(folder: Path) -> NetworkInfo:
    path = folder / INFO_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise KrespError(
            f"{folder} has no {INFO_FILE} that can be read ({error.strerror}); expected a SavedModel that "
            "`kresp3d export --format saved_model` wrote"
        ) from error
    info = NetworkInfo.from_text(text, folder)
    if info.format != "saved_model":
        raise KrespError(f"{path} describes a network of format {info.format}, expected saved_model")
    return info


def _load(folder: Path) -> Any:
    check_file(folder / "saved_model.pb")
    try:
        loaded = tf.saved_model.load(str(folder))
    # TensorFlow raises any of these for a file that is missing, cut off, has a wrong checksum or is of another network.
    except (AssertionError, OSError, ValueError, LookupError, RuntimeError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise KrespError(f"{folder} cannot be loaded as a SavedModel ({reason}); export the run again") from error
    if "serving_default" not in loaded.signatures:
        raise KrespError(f"{folder} has no signature serving_default; export the run again")
    return loaded


def _shapes(signature: Any) -> tuple[list[int | None] | None, list[int | None] | None]:
    """Shapes of `frames` and of `probabilities`, or `None` where there is none."""
    inputs = signature.structured_input_signature[1]
    frames, probabilities = inputs.get("frames"), signature.structured_outputs.get("probabilities")
    return (
        None if frames is None else frames.shape.as_list(),
        None if probabilities is None else probabilities.shape.as_list(),
    )

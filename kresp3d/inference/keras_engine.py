"""The network of a run, run by Keras."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

import kresp3d.nn  # noqa: F401  (a saved network names its layers, and Keras finds them by this import)
from kresp3d.clips.clip_format import ClipFormat
from kresp3d.compression.rounding import rounds_as_int8
from kresp3d.inference.engine import Engine, Precision
from kresp3d.nn.layers import ResidualFrames
from kresp3d.nn.p3d_resnet import FORMAT
from kresp3d.nn.transforms import inference_form
from kresp3d.runs.network_info import OTHER_WIRING, NetworkInfo, sha256
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError
from kresp3d.system.files import at_hand

#: What Keras, zipfile and h5py raise for a file that is damaged, or that names layers or packages that are none.
_NO_NETWORK = (
    *(AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError),
    *(tf.errors.OpError, zipfile.BadZipFile, zlib.error),
)


def load_network(run: RunFolder) -> keras.Model:
    """The trained network of a run, as it was trained.

    Raises:
        KrespError: If the run has no network yet, its file cannot be loaded, or the run's configuration or classes are
            those of another network.
    """
    if not run.model_file.is_file():
        raise KrespError(f"{run.path} has no trained network yet (model.keras); finish an epoch of training first")
    network = load_network_file(run.model_file)
    _check_description(run, network)
    return network


def _check_description(run: RunFolder, network: keras.Model) -> None:
    """Make sure that a run's files describe its network.

    Raises:
        KrespError: If they do not, as when they were edited.
    """
    form = ClipFormat.of(run.config)
    inputs, logits = getattr(network, "input", None), getattr(network, "output", None)
    if not isinstance(inputs, dict) or set(inputs) != {"frames"} or not isinstance(logits, keras.KerasTensor):
        raise KrespError(f"{run.model_file} is no network that `kresp3d train` saved; train again")
    takes, gives = tuple(inputs["frames"].shape[1:]), logits.shape[-1]
    steps = {layer.step for layer in network.layers if isinstance(layer, ResidualFrames)}
    if takes != form.shape or steps - {form.step}:
        says = f"clips {list(form.shape)} with step {form.step}"
        has = f"clips {list(takes)}" + "".join(f" with step {step}" for step in steps)
        raise KrespError(
            f"{run.config_file} says {says}, but model.keras takes {has}; a trained run keeps its model.frames, "
            "model.step and model.size: put them back, or train again"
        )
    different = len(set(run.classes))
    if not len(run.classes) == different == gives:
        raise KrespError(
            f"{run.path / 'classes.txt'} has {len(run.classes)} lines, {different} of them different, but model.keras "
            f"has {gives} classes; put the file back, or train again"
        )


def load_network_file(path: Path) -> keras.Model:
    """The network in a `.keras` file that kresp3d wrote.

    Raises:
        KrespError: If it cannot be loaded.
    """
    try:
        with at_hand(path) as file:
            with zipfile.ZipFile(file) as archive:
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(f"{damaged} has a wrong checksum")
                _check_wiring(archive, path)
            return keras.models.load_model(file, compile=False)
    except _NO_NETWORK as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise KrespError(f"{path} cannot be loaded ({reason}); expected a network saved by `kresp3d train`") from error


def _check_wiring(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse a network of another format, before Keras builds it.

    Raises:
        KrespError: If it is one.
    """
    text = archive.read("config.json")
    values = json.loads(text)
    is_ours = values.get("class_name") == "P3DResNet"
    # The first networks noted no format.
    found = (values["config"].get("format") or 1) if is_ours else FORMAT
    # In the first ones of all, blocks were layers of their own.
    if b'"kresp3d>Bottleneck"' in text or found == 1:
        raise KrespError(f"{path} {OTHER_WIRING}; train it again")
    if found != FORMAT:
        raise KrespError(
            f"{path} holds a network of another version of kresp3d (format {found!r}, expected {FORMAT}); load it with "
            "that version, or train it again"
        )


def network_info(run: RunFolder) -> NetworkInfo:
    """What the network of a run takes and gives."""
    return NetworkInfo(
        name=run.config.name,
        format="keras",
        labels=run.classes,
        clip=ClipFormat.of(run.config),
        clips=run.config.evaluation.clips,
        source=sha256(run.model_file),
    )


class KerasEngine(Engine):
    """The trained network of a run, in its inference form.

    Args:
        run: A run whose training has kept a network.
        precision: Of the computation; the scores themselves are float32.

    Raises:
        KrespError: If the run has no network yet, or its file cannot be loaded.
    """

    def __init__(self, run: RunFolder, *, precision: Precision = "float32") -> None:
        trained = load_network(run)
        super().__init__(network_info(run), batch_size=run.config.evaluation.batch_size)
        # A network that rounds as an int8 file does computes in float32.
        self.network = inference_form(trained, precision="float32" if rounds_as_int8(trained) else precision)

        # One signature for batches of every size: the last, smaller one is not traced again.
        def forward(frames: Any) -> Any:
            return self.network({"frames": frames}, training=False)

        signature = [tf.TensorSpec([None, *self.info.clip.shape], tf.uint8)]
        self._forward = tf.function(forward, input_signature=signature, autograph=False)

    def _score(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = self._forward(tf.convert_to_tensor(frames)).numpy()
        return scores

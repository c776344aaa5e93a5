"""OpenVINO's intermediate representation of a network, for servers with Intel's runtime and no TensorFlow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

from kresp3d.inference.openvino_engine import INFO_KEY, WEIGHTS_KEY, load_openvino
from kresp3d.nn.transforms import inference_form
from kresp3d.runs.network_info import NetworkInfo, sha256


def write_openvino(trained: keras.Model, info: NetworkInfo, path: Path) -> None:
    """Write a network as OpenVINO IR, with float32 weights and its description inside.

    The network takes `frames`, uint8 `[any, frames + step, size, size, 3]`, and gives `probabilities`, float32
    `[any, classes]`.

    Args:
        trained: The network as it was trained.
        info: Its description.
        path: The `.xml`; the weights go into the `.bin` beside it.

    Raises:
        KrespError: If OpenVINO is not installed.
        OSError: If the disk is full.
    """
    openvino = load_openvino()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, _write_errors(path):
        # Keras names the input; the rest is added here. Written elsewhere, since what is read stays mapped.
        plain = Path(folder) / "network.xml"
        inference_form(trained).export(str(plain), format="openvino", verbose=False)
        network = openvino.Core().read_model(plain)
        network.output(0).tensor.set_names({"probabilities"})
        network.set_rt_info(info.model_copy(update={"format": "openvino"}).to_text(), INFO_KEY)
        # Once for the `.bin`, and once more for the `.xml`, which names it.
        openvino.serialize(network, path)
        network.set_rt_info(sha256(path.with_suffix(".bin")), WEIGHTS_KEY)
        openvino.serialize(network, path)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Turn OpenVINO's word for a file that it could not write to the end into Python's."""
    try:
        yield
    except RuntimeError as error:
        if "iostream error" not in str(error):
            raise
        raise OSError(f"OpenVINO could not write {path} whole; is the disk full?") from error

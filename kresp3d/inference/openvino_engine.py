"""An exported network, run by OpenVINO."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.inference.engine import Engine, Precision
from kresp3d.runs.network_info import NetworkInfo, sha256
from kresp3d.system.errors import KrespError

#: Where the `.xml` carries the network's description, and the SHA-256 of the `.bin` that belongs to it.
INFO_KEY = ["kresp3d", "network"]
WEIGHTS_KEY = ["kresp3d", "weights_sha256"]

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def load_openvino() -> Any:
    """The module `openvino`.

    Raises:
        KrespError: If it is not installed.
    """
    # On import OpenVINO reports its use over the network, unless its telemetry package is missing. Nobody who runs
    # kresp3d was asked, so here it is.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise KrespError(
            f"OpenVINO cannot be loaded ({error}); install it by `pip install 'kresp3d[openvino]'`"
        ) from None
    return openvino


def has_bfloat16(core: Any) -> bool:
    """Whether the CPU has instructions for bfloat16, by `openvino.Core`."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVINOEngine(Engine):
    """A network in OpenVINO's IR, run on the CPU.

    Clips go through one at a time: with a batch size that is fixed when the network is compiled OpenVINO was twice
    as fast as with one that is open, and clips in a batch were no faster each than one alone.

    Args:
        path: The `.xml`; its `.bin` lies beside it.
        precision: Of the computation; the scores themselves are float32.
        threads: Threads to use; by default all cores.

    Raises:
        KrespError: If OpenVINO is not installed, a file is missing, damaged or not of kresp3d, or the CPU cannot
            compute in bfloat16.
    """

    def __init__(self, path: Path, precision: Precision = "float32", threads: int | None = None) -> None:
        openvino = load_openvino()
        core = openvino.Core()
        if precision == "bfloat16" and not has_bfloat16(core):
            name = core.get_property("CPU", "FULL_DEVICE_NAME")
            raise KrespError(
                f"{name} has no bfloat16 instructions, so OpenVINO cannot compute in bfloat16; use float32"
            )
        network = _read(core, path)
        info = NetworkInfo.from_text(network.get_rt_info(INFO_KEY).astype(str), path)
        super().__init__(info)
        self._alone = threading.Lock()
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            _check_description(network, info, path)
            network.reshape([1, *info.clip.shape])
            self._compiled = core.compile_model(network, "CPU", options)
            self._output = self._compiled.output("probabilities")
        except RuntimeError as error:
            raise _damaged(path, error) from error

    def _score(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        # A compiled network has one request, whose answer is overwritten by the next.
        with self._alone:
            return np.concatenate([self._compiled(clip[None])[self._output] for clip in frames])


def weights_file(path: Path) -> Path:
    """The `.bin` that belongs to an `.xml`, as `a.bin.rejected` does to `a.xml.rejected`."""
    plain = path.name.removesuffix(".rejected")
    return path.with_name(Path(plain).with_suffix(".bin").name + path.name[len(plain) :])


def _read(core: Any, path: Path) -> Any:
    """The network in the IR at `path`, whose `.bin` is checked."""
    weights = weights_file(path)
    for file in (path, weights):
        if not file.is_file():
            raise KrespError(f"{file} does not exist; expected an OpenVINO network, an .xml with its .bin beside it")
    try:
        network = core.read_model(path, weights)
    except RuntimeError as error:
        raise _damaged(path, error) from error
    if not (network.has_rt_info(INFO_KEY) and network.has_rt_info(WEIGHTS_KEY)):
        raise KrespError(f"{path} is an OpenVINO network, but was not written by `kresp3d export`")
    # Two networks of the same shape have `.bin` files of the same size, so nothing else tells them apart.
    if network.get_rt_info(WEIGHTS_KEY).astype(str) != sha256(weights):
        raise KrespError(f"{weights} does not belong to {path.name}, or is damaged; export the run again")
    return network


def _check_description(network: Any, info: NetworkInfo, path: Path) -> None:
    """Make sure that a network is the one that its file describes.

    Raises:
        KrespError: If it is not.
    """
    clip, classes = list(info.clip.shape), len(info.labels)
    found = [[list(tensor.partial_shape)[1:] for tensor in tensors] for tensors in (network.inputs, network.outputs)]
    if found != [[clip], [[classes]]]:
        raise KrespError(
            f"{path} carries the description of another network (clips {clip}, {classes} classes); export the run again"
        )


def _damaged(path: Path, error: RuntimeError) -> KrespError:
    reason = " ".join(str(error).split())[:200]
    return KrespError(f"{path} cannot be loaded by OpenVINO ({reason}); export the run again")

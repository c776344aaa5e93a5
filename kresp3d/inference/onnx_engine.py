"""An exported network, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.errors import KrespError
from kresp3d.inference.engine import Engine
from kresp3d.inference.network_info import NetworkInfo

#: Where the file carries the network's description.
INFO_KEY = "kresp3d"

#: ONNX Runtime's level "error": it warns of GPUs that are not there and of nodes it does not know better.
_ERRORS = 3


class ONNXEngine(Engine):
    """A network in an `.onnx` file, run on the CPU.

    Args:
        path: The file.
        threads: Threads to use; by default all cores.

    Raises:
        KrespError: If ONNX Runtime is not installed, or the file is missing, damaged or not of kresp3d.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise KrespError(
                f"ONNX Runtime cannot be loaded ({error}); install it by `pip install 'kresp3d[onnx]'`"
            ) from None
        if not path.is_file():
            raise KrespError(f"{path} does not exist; expected an ONNX file")
        onnxruntime.set_default_logger_severity(_ERRORS)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except _load_errors() as error:
            reason = " ".join(str(error).split())[:200]
            raise KrespError(f"{path} cannot be loaded by ONNX Runtime ({reason}); export the run again") from error
        text = session.get_modelmeta().custom_metadata_map.get(INFO_KEY)
        if text is None:
            raise KrespError(f"{path} is an ONNX network, but was not written by `kresp3d export`")
        super().__init__(NetworkInfo.from_text(text, path))
        self._session = session

    def _score(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = self._session.run(["probabilities"], {"frames": frames})[0]
        return scores


def _load_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for a file it cannot load; its errors have no base class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names: tuple[Any, ...] = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoModel,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )
    return names

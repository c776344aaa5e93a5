"""An exported network, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kresp3d.inference.engine import Engine
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.system.errors import KrespError

#: Where the file carries the network's description, and the SHA-256 of itself with `NO_DIGEST` in that place.
INFO_KEY = "kresp3d"
DIGEST_KEY = "kresp3d_sha256"
NO_DIGEST = "0" * 64

#: What comes before the digest in the file: the protocol buffer's fields `key`, with its length, and `value`, of 64.
_BEFORE_DIGEST = b"\x0a" + bytes([len(DIGEST_KEY)]) + DIGEST_KEY.encode() + b"\x12\x40"

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
        data = path.read_bytes()
        has_digest = _check_digest(data, path)
        onnxruntime.set_default_logger_severity(_ERRORS)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            noted = session.get_modelmeta().custom_metadata_map
        except _load_errors() as error:
            reason = " ".join(str(error).split())[:200]
            raise KrespError(f"{path} cannot be loaded by ONNX Runtime ({reason}); export the run again") from error
        if INFO_KEY not in noted:
            raise KrespError(f"{path} is an ONNX network, but was not written by `kresp3d export`")
        super().__init__(NetworkInfo.from_text(noted[INFO_KEY], path))
        if not has_digest:
            raise KrespError(f"{path} is damaged, or was changed (its checksum is missing); export the run again")
        clip, classes = list(self.info.clip.shape), len(self.info.labels)
        if _tensors(session) != (["frames", "tensor(uint8)", *clip], ["probabilities", "tensor(float)", classes]):
            raise KrespError(
                f"{path} carries the description of another network (clips {clip}, {classes} classes); export the run "
                "again"
            )
        self._session = session

    def _score(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = self._session.run(["probabilities"], {"frames": frames})[0]
        return scores


def sign(network: bytes) -> bytes:
    """Put the SHA-256 of an ONNX file into it, where it has `NO_DIGEST` under `DIGEST_KEY`."""
    start = network.rindex(_BEFORE_DIGEST) + len(_BEFORE_DIGEST)
    digest = hashlib.sha256(network).hexdigest().encode()
    return network[:start] + digest + network[start + len(digest) :]


def _check_digest(network: bytes, path: Path) -> bool:
    """Whether an ONNX file notes its own SHA-256.

    Read before ONNX Runtime is given the file: a wrong weight is a number like any other to it, and on some damage it
    prints to the terminal, or fails to say what is wrong.

    Raises:
        KrespError: If it notes another one.
    """
    before, marker, rest = network.rpartition(_BEFORE_DIGEST)
    if not marker:
        return False
    size = len(NO_DIGEST)
    plain = b"".join((before, marker, NO_DIGEST.encode(), rest[size:]))
    if hashlib.sha256(plain).hexdigest().encode() != rest[:size]:
        raise KrespError(f"{path} is damaged, or was changed (its checksum is wrong); export the run again")
    return True


def _tensors(session: Any) -> tuple[list[Any], list[Any]]:
    """Name, type and shape after the batch of what a network takes, and of what it gives."""
    (frames,), (probabilities,) = session.get_inputs(), session.get_outputs()
    first, second = ([tensor.name, tensor.type, *tensor.shape[1:]] for tensor in (frames, probabilities))
    return first, second


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
        # Of a damaged name, which is no text.
        UnicodeDecodeError,
    )
    return names

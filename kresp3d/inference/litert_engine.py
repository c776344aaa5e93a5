"""A network in a `.tflite` file, run by LiteRT."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kresp3d.inference.engine import Engine
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.system.errors import KrespError
from kresp3d.system.machine import count_cores

#: Names of the files in the zip archive that is appended to the network.
INFO_FILE, LABELS_FILE = "kresp3d.json", "labels.txt"

#: What stands at bytes 4 to 8 of every LiteRT file.
_IDENTIFIER = b"TFL3"
#: Bytes of a description at most: thousands of classes fit.
_LARGEST_INFO = 16 * 2**20


class LiteRTEngine(Engine):
    """A network in a `.tflite` file, run on the CPU clip by clip.

    Args:
        path: The file.
        threads: Threads to use; by default all cores.

    Raises:
        KrespError: If LiteRT is not installed, or the file is missing, damaged or not of kresp3d.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise KrespError(
                f"LiteRT cannot be loaded ({error}); install it by `pip install 'kresp3d[litert]'`"
            ) from None
        if not path.is_file():
            raise KrespError(f"{path} does not exist; expected a LiteRT file")
        data = path.read_bytes()
        super().__init__(read_info(data, path))
        try:
            self._interpreter = Interpreter(model_content=data, num_threads=threads or count_cores())
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise KrespError(f"{path} cannot be loaded by LiteRT ({reason}); export the run again") from error
        [frames], [probabilities] = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        clip, classes = list(self.info.clip.shape), len(self.info.labels)
        if [list(tensor["shape"]) for tensor in (frames, probabilities)] != [[1, *clip], [1, classes]]:
            raise KrespError(
                f"{path} carries the description of another network (clips {clip}, {classes} classes); export the run "
                "again"
            )
        self._alone = threading.Lock()
        self._frames, self._probabilities = frames["index"], probabilities["index"]

    def _score(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        scores = np.empty((len(frames), len(self.info.labels)), np.float32)
        for clip, row in zip(frames, scores, strict=True):
            # An interpreter has one place for its input and one for its output.
            with self._alone:
                self._interpreter.set_tensor(self._frames, clip[None])
                self._interpreter.invoke()
                row[:] = self._interpreter.get_tensor(self._probabilities)[0]
        # The int8 softmax gives multiples of 1/256, which add up to 1 only roughly.
        return scores / scores.sum(axis=1, keepdims=True) if self.info.quantize == "int8" else scores


def pack(network: bytes, info: NetworkInfo) -> bytes:
    """Append a network's description to a LiteRT file, as TensorFlow Lite's metadata does with associated files.

    LiteRT reads the network and ignores the rest; zip tools read the archive at the end and ignore the network:
    `kresp3d.json` (`NetworkInfo`) and `labels.txt` (one class a line). The archive's comment is the network's SHA-256,
    since LiteRT may crash on a damaged file.
    """
    archive = io.BytesIO(network)
    with zipfile.ZipFile(archive, "a") as file:
        # A fixed time, so that the same network gives the same file.
        for name, text in ((INFO_FILE, info.to_text()), (LABELS_FILE, "".join(f"{x}\n" for x in info.labels))):
            file.writestr(zipfile.ZipInfo(name), text)
        file.comment = hashlib.sha256(network).hexdigest().encode()
    return archive.getvalue()


def read_info(data: bytes, path: Path) -> NetworkInfo:
    """Read what `pack` has appended.

    Args:
        data: The file.
        path: Its name, for messages.

    Raises:
        KrespError: If it is no LiteRT file, not one of kresp3d, or damaged.
    """
    if data[4:8] != _IDENTIFIER:
        raise KrespError(f"{path} is no LiteRT file; expected one written by `kresp3d export`")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            # A few bytes of an archive may be packed of many gigabytes.
            if file.getinfo(INFO_FILE).file_size > _LARGEST_INFO:
                raise KrespError(f"{path} carries a description of a network that is no text of kresp3d's")
            text = file.read(INFO_FILE)
            end = min(entry.header_offset for entry in file.infolist())
            digest = file.comment.decode("ascii", "replace")
    except (zipfile.BadZipFile, KeyError, EOFError):
        raise KrespError(
            f"{path} carries no description of a network: it is damaged, or was not written by `kresp3d export`"
        ) from None
    if hashlib.sha256(data[:end]).hexdigest() != digest:
        raise KrespError(f"{path} is damaged (its checksum is wrong); export the run again")
    return NetworkInfo.from_text(text, path)

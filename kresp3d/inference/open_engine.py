"""From a path to what runs the network there."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

from kresp3d.inference.engine import Engine, Precision
from kresp3d.system.arguments import shown, whole_number
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import at_hand
from kresp3d.system.quiet import held_stderr
from kresp3d.system.storage import RemotePath, reason

AnyPath = TypeVar("AnyPath", bound=Path)

#: Suffix of an exported file -> the engine that runs it.
SUFFIXES = {".tflite": "LiteRT", ".xml": "OpenVINO", ".onnx": "ONNX Runtime"}
#: All engines start so many threads; with a few thousand, TensorFlow ends the process and ONNX Runtime hangs.
MAX_THREADS: Final = 1024


def open_engine(path: Path, *, precision: Precision = "float32", threads: int | None = None) -> Engine:
    """Load the network of a run folder or of an exported file, whose name says what runs it.

    Args:
        path: A run folder; a SavedModel's folder, or the folder of its versions, of which the newest is taken; a
            `.tflite`, `.xml` or `.onnx` file.
        precision: Of the computation; only run folders and OpenVINO have a choice.
        threads: Threads that the network may use, at most `MAX_THREADS`; by default all cores. TensorFlow takes the
            number once in a process, before its first computation.

    Raises:
        UsageError: If `precision` or `threads` is none that there is, the engine has no such precision, or TensorFlow
            computes with other threads already.
        KrespError: If the path is none of these, cannot be loaded, or its engine is not installed.
    """
    _check_precision(precision)
    threads = None if threads is None else whole_number("threads", threads, MAX_THREADS)
    if not _exists(path):
        raise KrespError(f"{path} does not exist; expected a run folder or an exported network")
    if path.suffix.lower() == ".keras":
        raise KrespError(
            f"{path} is a Keras file, which keras.saving.load_model opens after `from kresp3d import P3DResNet`; "
            f"kresp3d itself loads {_run_folder(path)}"
        )
    if isinstance(path, RemotePath) and not (path / "config.yaml").is_file():
        return _open_copy(path, precision, threads)
    engine = _engine(path, precision, threads)
    if engine is None:
        raise KrespError(
            f"{path} is neither a run folder (config.yaml) nor an exported network: expected a SavedModel's folder "
            f"or a name that ends in {', '.join(SUFFIXES)}"
        )
    # LiteRT announces its delegate.
    with held_stderr():
        return engine()


def _check_precision(precision: Any) -> None:
    choices = get_args(Precision)
    if not isinstance(precision, str) or precision not in choices:
        raise UsageError(f"precision must be {' or '.join(choices)}, received {shown(precision)}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise KrespError(f"{path} cannot be opened ({reason(error)})") from error


def _run_folder(file: Path) -> str:
    """What to load instead of a run's network."""
    folder = file.parent
    return f"the run folder around it, {folder}" if (folder / "config.yaml").is_file() else "run folders and exports"


def _open_copy(path: RemotePath, precision: Precision, threads: int | None) -> Engine:
    """Load an exported network from a copy on this machine, which is there as long as the engine."""
    from kresp3d.inference.openvino_engine import weights_file

    path = network_path(path)
    beside = [weights_file(path)] if path.name.endswith(".xml") else []
    with ExitStack() as copying:
        copy = copying.enter_context(at_hand(path, *beside))
        try:
            engine = open_engine(copy, precision=precision, threads=threads)
        except KrespError as error:
            raise type(error)(str(error).replace(str(copy), str(path))) from error
        weakref.finalize(engine, copying.pop_all().close)
    return engine


def network_path(path: AnyPath) -> AnyPath:
    """What `open_engine` opens: the newest version in a folder of versions, and any other path itself."""
    if (path / "config.yaml").is_file() or (path / "saved_model.pb").is_file():
        return path
    return _newest_version(path) or path


def _engine(path: Path, precision: Precision, threads: int | None) -> Callable[[], Engine] | None:
    # What an export kept under a name that ends so can be looked into like any other.
    suffix = Path(path.name.removesuffix(".rejected")).suffix.lower()
    if suffix == ".xml":
        from kresp3d.inference.openvino_engine import OpenVINOEngine

        return lambda: OpenVINOEngine(path, precision=precision, threads=threads)
    if (path / "config.yaml").is_file():
        from kresp3d.inference.keras_engine import KerasEngine
        from kresp3d.runs.run_folder import RunFolder

        _limit_tensorflow(threads)
        return lambda: KerasEngine(RunFolder.open(path), precision=precision)
    if precision != "float32" and (suffix in SUFFIXES or path.is_dir()):
        raise UsageError(
            f"{path} computes as it was exported; precision= (--precision) is for run folders and OpenVINO files"
        )
    if suffix == ".tflite":
        from kresp3d.inference.litert_engine import LiteRTEngine

        return lambda: LiteRTEngine(path, threads=threads)
    if suffix == ".onnx":
        from kresp3d.inference.onnx_engine import ONNXEngine

        return lambda: ONNXEngine(path, threads=threads)
    folder = network_path(path)
    if (folder / "saved_model.pb").is_file():
        from kresp3d.inference.saved_model_engine import SavedModelEngine

        _limit_tensorflow(threads)
        return lambda: SavedModelEngine(folder)
    return None


def _newest_version(path: AnyPath) -> AnyPath | None:
    """The folder with the highest number for a name among those that hold a SavedModel."""
    versions = [p for p in path.glob("*") if p.name.isdecimal() and (p / "saved_model.pb").is_file()]
    return max(versions, key=lambda p: int(p.name), default=None)


def _limit_tensorflow(threads: int | None) -> None:
    if threads is None:
        return
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        raise UsageError(
            "TensorFlow has begun to compute with other threads in this process; give threads= to the first load"
        ) from None

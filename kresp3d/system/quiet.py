"""TensorFlow's and Keras's talk at start-up, kept from a user's terminal, and what they import without need."""

from __future__ import annotations

import contextlib
import importlib.machinery
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType

#: Set where the user has not set them. Errors still reach a person, as Python exceptions.
ENVIRONMENT = {
    # Only what ends the process: on a machine without a GPU, the absence of CUDA is logged as an error.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
}

#: What TensorFlow and Keras import if it is there, for parts of theirs that the commands do not use: a fifth of
#: their import's time, and with JAX a third. Whoever needs one of them imports it later, as ever.
NOT_NEEDED = ("jax", "matplotlib", "sklearn")

_PACKAGES = ("tensorflow", "keras", "tf_keras", "keras_tuner", "tensorflow_model_optimization", "google")


def quieten() -> None:
    """Silence TensorFlow and Keras in this process, and have them imported faster.

    For a program that uses them through kresp3d alone: Keras' plots and its wrappers for scikit-learn, and the
    converter from JAX to LiteRT, are then not to be had. To be called before they are imported; imports neither.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Beam tells of packages that are missing, and not needed, by the root logger.
    logging.getLogger().addHandler(logging.NullHandler())
    for package in _PACKAGES:
        warnings.filterwarnings("ignore", module=rf"{package}(\.|$)")
    sys.meta_path.insert(0, _QuietImport({"keras", "tensorflow"} - sys.modules.keys()))


@contextlib.contextmanager
def held_stderr() -> Iterator[None]:
    """Hold back what C++ and Python write to stderr; an exception lets it through.

    For the few messages that no variable silences. Holds nothing where `TF_CPP_MIN_LOG_LEVEL` asks for messages, or
    is not set, as in a program of the user's own.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != ENVIRONMENT["TF_CPP_MIN_LOG_LEVEL"]:
        yield
        return
    try:
        sys.stderr.flush()
        terminal = os.dup(2)
    except (OSError, AttributeError):  # no stderr, nothing to hold
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


class _QuietImport:
    """Holds stderr while a package is imported, wherever that first happens, and keeps from it what is not needed.

    TensorFlow 2.21 logs a few lines before it has read `TF_CPP_MIN_LOG_LEVEL`, so no variable silences them.
    """

    def __init__(self, packages: set[str]) -> None:
        self.packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.packages:
            return None
        self.packages.remove(fullname)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        loader = spec.loader
        execute = loader.exec_module

        def execute_quietly(module: ModuleType) -> None:
            # The loader is left as it was found, for whoever asks it for the package's files.
            del loader.exec_module
            absent = _Absent(NOT_NEEDED)
            sys.meta_path.insert(0, absent)
            try:
                with held_stderr():
                    execute(module)
            finally:
                sys.meta_path.remove(absent)
            if fullname == "tensorflow":
                from absl import logging as absl_logging

                absl_logging.set_verbosity(absl_logging.ERROR)

        loader.exec_module = execute_quietly  # type: ignore[method-assign]
        return spec


class _Absent:
    """Packages that are as if not installed as long as this is the first of `sys.meta_path`."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname in self.names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)

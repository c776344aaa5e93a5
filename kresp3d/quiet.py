"""TensorFlow's and Keras's talk at start-up, kept from a user's terminal."""

from __future__ import annotations

import logging
import os
import warnings

#: Set where the user has not set them. Errors still reach a person, as Python exceptions.
ENVIRONMENT = {
    # Only what ends the process: without a GPU, CUDA's absence is reported as an error.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "GLOG_minloglevel": "3",
}

_PACKAGES = ("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization", "tensorflow_io", "google", "jax")


def quieten() -> None:
    """Silence TensorFlow and Keras for this process and those it starts. To be called before they are imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    for package in _PACKAGES:
        warnings.filterwarnings("ignore", module=rf"{package}(\..*)?$")

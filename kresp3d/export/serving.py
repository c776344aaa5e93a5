"""What lies beside a SavedModel for TensorFlow Serving: warm-up requests and configuration files."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kresp3d.runs.network_info import NetworkInfo
from kresp3d.system.files import write_text
from kresp3d.video.jpeg import encode_jpeg

logger = logging.getLogger("kresp3d")

#: Where TensorFlow Serving looks for requests to run before it declares a version ready.
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MODELS_CONFIG = "models.config"
BATCHING_PARAMETERS = "batching_parameters.txt"

_MODELS_CONFIG = """\
# Models for `tensorflow_model_server --model_config_file=…`; base_path is where docs/serving.md mounts this folder.
# Yours to edit: an export writes this file only where it is missing.
# The newest version is served, and a new one replaces it while the server runs.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
  }}
}}
"""

_BATCHING_PARAMETERS = """\
# For `tensorflow_model_server --enable_batching --batching_parameters_file=…`, which joins requests that arrive
# together along their first axis. That is right for `serving_default`, whose first axis counts clips, and for
# `encoded` where all clients send the same number of frames. It is wrong for `video`, whose first axis counts the
# frames of one video: a server with batching refuses such requests. Without --enable_batching all three work.
# Yours to edit: an export writes this file only where it is missing.

# Clips, or videos, that one request may hold; a larger one is refused. The client sends all clips of a video at once.
max_batch_size { value: 64 }

# A request is split into batches of so many, and their rows are put together again. Small, since one clip is billions
# of operations and fills the cores by itself: larger batches save little time here, and each further clip takes as
# much memory as the network's largest activations.
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 4 }

# Wait this long for a batch to fill: little beside the time of one clip.
batch_timeout_micros { value: 5000 }

# Batches at work at the same time. Each spreads over all cores already, and each takes its own memory.
num_batch_threads { value: 2 }

# Batches that may wait: as many as the largest request is split into, twice. A server that is further behind says so
# at once, and the client can go elsewhere.
max_enqueued_batches { value: 32 }
"""


def write_warmup(folder: Path, info: NetworkInfo) -> None:
    """Write requests that TensorFlow Serving runs before it declares a version ready, so that no client waits for it.

    One request for `serving_default` and one for `encoded`, as `tensorflow.serving.PredictionLog` in a TFRecord file.
    Where tensorflow-serving-api is not installed, nothing is written and the log says so.

    Args:
        folder: The SavedModel's own folder.
        info: The network's description.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        logger.warning(
            "no warm-up requests written to %s: they need tensorflow-serving-api (pip install 'kresp3d[serving]')",
            folder,
        )
        return
    clip = info.clip
    small = moving_picture(clip.length, clip.size, clip.size)
    # As many frames as give two different clips, and so each shape of the graph once.
    large = moving_picture(clip.span + 1, clip.short_side, clip.short_side * 4 // 3)
    inputs = {
        "serving_default": {"frames": small[None]},
        "encoded": {"jpegs": np.array([[encode_jpeg(frame, quality=90) for frame in large]], object)},
    }
    (folder / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as file:
        for signature, values in inputs.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = info.name
            request.model_spec.signature_name = signature
            for name, value in values.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            file.write(log.SerializeToString())


def moving_picture(frames: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """A grainy picture that moves to the side, uint8 `[frames, height, width, 3]`: it costs what a real video costs."""
    random = np.random.default_rng(0)
    slope = np.linspace(40, 200, height)[:, None, None]
    grain = random.normal(0, 12, (height, width, 3))
    picture = np.clip(slope + grain, 0, 255).astype(np.uint8)
    return np.stack([np.roll(picture, 2 * t, axis=1) for t in range(frames)])


def write_models_config(folder_of_versions: Path, name: str) -> None:
    """Write `models.config`, a text `ModelServerConfig`, which serves the folder that is mounted at `/models/NAME`.

    A file that is there already is left as it is: it may have been edited.

    Args:
        folder_of_versions: The folder that holds the versions, `…/NAME`.
        name: The model's name for the server; letters, digits, dots, dashes and underscores, as in a configuration.
    """
    _write_missing(folder_of_versions / MODELS_CONFIG, _MODELS_CONFIG.format(name=name))


def write_batching_parameters(folder_of_versions: Path) -> None:
    """Write `batching_parameters.txt`, a text `BatchingParameters` that suits a video network.

    A file that is there already is left as it is: it may have been edited.

    Args:
        folder_of_versions: The folder that holds the versions, `…/NAME`.
    """
    _write_missing(folder_of_versions / BATCHING_PARAMETERS, _BATCHING_PARAMETERS)


def _write_missing(path: Path, text: str) -> None:
    if not path.exists():
        write_text(path, text)

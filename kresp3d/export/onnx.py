"""A network as an ONNX file, for runtimes of any maker."""

from __future__ import annotations

from pathlib import Path

import keras

from kresp3d.inference.onnx_engine import DIGEST_KEY, INFO_KEY, NO_DIGEST, sign
from kresp3d.nn.transforms import inference_form
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.system.errors import KrespError


def write_onnx(trained: keras.Model, info: NetworkInfo, path: Path) -> None:
    """Write a network as ONNX, in float32, with its description in the metadata.

    The network takes `frames`, uint8 `[batch, frames + step, size, size, 3]`, and gives `probabilities`, float32
    `[batch, classes]`, where `batch` is any number.

    Args:
        trained: The network as it was trained.
        info: Its description.
        path: The `.onnx`.

    Raises:
        KrespError: If onnx or tf2onnx is not installed.
    """
    try:
        import onnx
        import tf2onnx  # noqa: F401  (Keras converts by it)
    except ImportError as error:
        raise KrespError(f"ONNX cannot be written ({error}); install it by `pip install 'kresp3d[onnx]'`") from None
    frames = keras.InputSpec("uint8", (None, *info.clip.shape), name="frames")
    # The signature is given since Keras finds it by itself only in a network that has been run.
    inference_form(trained).export(str(path), format="onnx", verbose=False, input_signature=[{"frames": frames}])

    # tf2onnx keeps the name of the input alone.
    network = onnx.load(path)
    (inputs,), (outputs,) = network.graph.input, network.graph.output
    for node in network.graph.node:
        node.output[:] = ["probabilities" if name == outputs.name else name for name in node.output]
    outputs.name = "probabilities"
    for tensor in (inputs, outputs):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    text = info.model_copy(update={"format": "onnx"}).to_text()
    onnx.helper.set_model_props(network, {INFO_KEY: text, DIGEST_KEY: NO_DIGEST})
    onnx.checker.check_model(network, full_check=True)
    path.write_bytes(sign(network.SerializeToString()))

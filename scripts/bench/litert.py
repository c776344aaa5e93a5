"""How fast LiteRT scores one clip with the network of the paper's Table 1: int8, float32, and float32 with `Conv3D`.

    pip install -e ".[litert]"
    python scripts/bench/litert.py

"int8" and "float32" are what `kresp3d export` writes. "float32, Conv3D" is the same network with each 1×k² and k×1²
convolution as a `Conv3D` of that kernel, in place of the 2D convolution on folded axes. The weights are random, and the
biases of int8 uncorrected, which changes its numbers and not its speed. The networks take turns, one clip each, so that
what else the machine does meets all of them alike. A ratio is the median of those of the rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any
from unittest import mock

import numpy as np
from arguments import config_parser

from kresp3d.system.quiet import held_stderr, quieten

BASE = "float32, Conv3D"


def main() -> None:
    parser = config_parser(__doc__, "ucf101.yaml", "whose model section is built")
    parser.add_argument("--classes", type=int, default=101)
    parser.add_argument("--rounds", type=int, default=7, help="clips each scores, after one that is not counted")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    quieten()

    import keras
    from ai_edge_litert.interpreter import Interpreter

    from kresp3d.config.schema import load_config
    from kresp3d.nn import P3DResNet

    config = load_config(options.config, options.set)
    keras.utils.set_random_seed(0)
    files = write(P3DResNet(classes=options.classes, **dict(config.model)))
    shape = (config.model.frames + config.model.step, config.model.size, config.model.size, 3)
    clip = np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
    interpreters: dict[str, Any] = {}
    for name, file in files.items():
        with held_stderr():
            interpreters[name] = Interpreter(model_content=file, num_threads=options.threads)
            interpreters[name].allocate_tensors()
        score(interpreters[name], clip)
    check(*(score(interpreters[name], clip) for name in ("float32", BASE)))

    seconds: dict[str, list[float]] = {name: [] for name in files}
    for number in range(options.rounds):
        for name, interpreter in interpreters.items():
            start = time.perf_counter()
            score(interpreter, clip)
            seconds[name].append(time.perf_counter() - start)
            print(f"{number + 1}/{options.rounds} {name}: {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
    print(f"{options.threads} threads, {options.rounds} rounds, one clip at a time\n")
    print(f"{'':18}{'median s':>10}{'min s':>8}{'max s':>8}{'MB':>8}   as fast as {BASE}")
    for name, times in seconds.items():
        ratio = statistics.median(base / own for own, base in zip(times, seconds[BASE], strict=True))
        print(
            f"{name:18}{statistics.median(times):10.2f}{min(times):8.2f}{max(times):8.2f}"
            f"{len(files[name]) / 1e6:8.1f}   {ratio:.2f} times"
        )


def write(network: Any) -> dict[str, bytes]:
    """The LiteRT files that are compared."""
    from kresp3d.export.litert import convert
    from kresp3d.nn.layers import FactorizedConv

    # All of a network's speed and none of its accuracy: two clips are enough.
    clips = np.random.default_rng(1).integers(0, 256, (2, *network.input["frames"].shape[1:]), np.uint8)
    files = {"int8": convert(network, "int8", clips), "float32": convert(network, "none", None)}
    with mock.patch.object(FactorizedConv, "call", call_conv3d):
        files[BASE] = convert(network, "none", None)
    return files


def call_conv3d(layer: Any, inputs: Any) -> Any:
    """`FactorizedConv.call` as one 3D convolution."""
    from keras import ops

    time_size, space = layer.kernel_size
    kernel = ops.reshape(layer.kernel, (time_size, space, space, -1, layer.filters))
    stride = (1, layer.spatial_stride, layer.spatial_stride)
    x = ops.conv(inputs, kernel, strides=stride, padding="same", data_format="channels_last")
    return layer.activation(x if layer.bias is None else x + layer.bias)


def score(interpreter: Any, clip: np.ndarray) -> np.ndarray:
    """Probabilities `[classes]` of a clip."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], clip)
    interpreter.invoke()
    scores: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    return scores


def check(folded: np.ndarray, unfolded: np.ndarray) -> None:
    """Make sure that the two float32 networks are the same function."""
    difference = np.abs(folded - unfolded).max()
    if not difference < 1e-3:
        raise SystemExit(f"the float32 networks differ by {difference}; they cannot be compared")


if __name__ == "__main__":
    main()

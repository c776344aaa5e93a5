"""How fast the network of the paper's Table 1 scores one clip, by OpenVINO, PyTorch, ONNX Runtime and TensorFlow.

    pip install -e ".[openvino,onnx,bench]"
    python scripts/bench/openvino_and_pytorch.py

Clips are uint8 and the weights are random. The contenders take turns, as `turns.py` says.

PyTorch has its memory in `channels_last_3d`, runs in `inference_mode`, and in bfloat16 its weights are bfloat16,
which was faster than autocast. "fused" has its batch norms folded by `torch.fx`, as all exported networks have.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from arguments import config_parser
from turns import Work, cpu_name, take_turns

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.config.schema import Config, load_config
from kresp3d.system.quiet import quieten

BASE = "PyTorch bf16"

Forward = Callable[[np.ndarray], Any]


def main() -> None:
    parser = config_parser(__doc__, "ucf101.yaml", "whose model section is built")
    parser.add_argument("--classes", type=int, default=101)
    parser.add_argument("--batch", type=int, default=1, help="clips scored at once (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each, after two that are not counted")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", choices=CONTENDERS, help="leave out the others but the base")
    options = parser.parse_args()

    config = load_config(options.config, options.set)
    names = [name for name in CONTENDERS if not options.only or name in (*options.only, BASE)]
    with tempfile.TemporaryDirectory() as folder:
        _in_new_process(_write_networks, Path(folder), config, options.classes)
        contenders = {
            name: partial(_contend, name, Path(folder), config, options.threads, options.batch) for name in names
        }
        measured = take_turns(contenders, options.rounds)
    print(f"{cpu_name()}, {options.threads} threads, {options.rounds} rounds, {options.batch} clips at a time\n")
    print(f"| | median | least | most | CPU time | as fast as {BASE} |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, times in measured.items():
        walls = [turn.wall for turn in times.turns]
        ratio = statistics.median(1 / ratio for ratio in times.ratios(measured[BASE]))
        seconds = " | ".join(f"{value:.3f} s" for value in (times.wall, min(walls), max(walls), times.cpu))
        print(f"| {name} | {seconds} | {ratio:.2f} times |")


def _contend(name: str, folder: Path, config: Config, threads: int, batch: int) -> Work:
    """Make what scores a batch of clips."""
    forward = CONTENDERS[name](folder, config, threads)
    shape = (batch, *ClipFormat.of(config).shape)
    return partial(forward, np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def _in_new_process(target: Callable[..., None], *arguments: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def _write_networks(folder: Path, config: Config, classes: int) -> None:
    """A run folder with random weights, what is exported from it, and its weights for PyTorch."""
    quieten()
    import keras
    import torch
    from torch_network import Network, copy_weights

    from kresp3d.export.onnx import write_onnx
    from kresp3d.export.openvino import write_openvino
    from kresp3d.inference.keras_engine import network_info
    from kresp3d.nn import P3DResNet
    from kresp3d.runs.run_folder import RunFolder

    keras.utils.set_random_seed(0)
    network = P3DResNet(classes=classes, **dict(config.model))
    run = RunFolder.create(folder / "run", config)
    (run.path / "classes.txt").write_text("".join(f"class {number}\n" for number in range(classes)))
    network.save(run.model_file)
    info = network_info(run)
    write_openvino(network, info, folder / "network.xml")
    write_onnx(network, info, folder / "network.onnx")
    in_torch = Network(config.model, classes)
    copy_weights(network, in_torch)
    torch.save(in_torch.state_dict(), folder / "network.pt")


def _engine(name: str, precision: Any = "float32") -> Callable[[Path, Config, int], Forward]:
    def make(folder: Path, config: Config, threads: int) -> Forward:
        from kresp3d.inference.open_engine import open_engine

        return open_engine(folder / name, precision=precision, threads=threads).probabilities

    return make


def _torch(precision: str, *, fused: bool = False) -> Callable[[Path, Config, int], Forward]:
    def make(folder: Path, config: Config, threads: int) -> Forward:
        import torch
        from torch.fx.experimental.optimization import fuse
        from torch_network import Network

        torch.set_num_threads(threads)
        weights = torch.load(folder / "network.pt")
        network = Network(config.model, classes=len(weights["fc2.bias"])).eval()
        network.load_state_dict(weights)
        if fused:
            network = fuse(network)
        network = network.to(dtype=getattr(torch, precision), memory_format=torch.channels_last_3d)

        @torch.inference_mode()
        def forward(frames: np.ndarray) -> Any:
            return network(torch.from_numpy(frames)).float().softmax(dim=-1).numpy()

        return forward

    return make


#: What is measured, by its name in the table: from the folder of the networks, the configuration and the number of
#: threads to what scores clips.
CONTENDERS = {
    "OpenVINO bf16": _engine("network.xml", "bfloat16"),
    BASE: _torch("bfloat16"),
    "PyTorch bf16, fused": _torch("bfloat16", fused=True),
    "OpenVINO f32": _engine("network.xml"),
    "PyTorch f32": _torch("float32"),
    "PyTorch f32, fused": _torch("float32", fused=True),
    "ONNX Runtime f32": _engine("network.onnx"),
    "TensorFlow f32": _engine("run"),
    "TensorFlow bf16": _engine("run", "bfloat16"),
}


if __name__ == "__main__":
    main()

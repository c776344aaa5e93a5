"""How fast the network of the paper's Table 1 scores one clip, by OpenVINO, PyTorch, ONNX Runtime and TensorFlow.

    pip install -e ".[openvino,onnx,bench]"
    python scripts/bench/openvino_and_pytorch.py

The clip is uint8 and the weights are random. Every contender has a process of its own, and they take turns, one clip
each, so that what else the machine does meets all of them alike. A ratio is the median of those of the rounds. The
CPU time, of all threads together, depends less on what else runs; it tells the work, not how well threads share it.

PyTorch has its memory in `channels_last_3d`, runs in `inference_mode`, and in bfloat16 its weights are bfloat16,
which was faster than autocast. "fused" has its batch norms folded by `torch.fx`, as all exported networks have.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from kresp3d.config import Config, load_config
from kresp3d.machine import read_text
from kresp3d.quiet import quieten

CONFIG = Path(__file__).parents[2] / "configs" / "ucf101.yaml"
BASE = "PyTorch bf16"

Forward = Callable[[np.ndarray], Any]
#: Seconds by the clock, and of all threads together.
Times = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config", type=Path, default=CONFIG, help="whose model section is built (default: %(default)s)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration")
    parser.add_argument("--classes", type=int, default=101)
    parser.add_argument("--rounds", type=int, default=7, help="clips each scores, after one that is not counted")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", choices=CONTENDERS, help="leave out the others but the base")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    options = parser.parse_args()

    config = load_config(options.config, options.set)
    names = [name for name in CONTENDERS if not options.only or name in (*options.only, BASE)]
    with tempfile.TemporaryDirectory() as folder:
        _in_new_process(_write_networks, Path(folder), config, options.classes)
        times = take_turns(names, Path(folder), config, options.threads, options.rounds)
    rows = [summary(name, times[name], times[BASE]) for name in names]
    if options.json:
        print(json.dumps({"cpu": cpu_name(), "threads": options.threads, "results": rows}, indent=2))
        return
    print(f"{cpu_name()}, {options.threads} threads, {options.rounds} rounds, one clip at a time\n")
    print(f"{'':24}{'median s':>10}{'min s':>8}{'max s':>8}{'CPU s':>8}   as fast as {BASE}, channels last")
    for row in rows:
        columns = f"{row['median']:10.2f}{row['min']:8.2f}{row['max']:8.2f}{row['cpu']:8.2f}"
        print(f"{row['name']:24}{columns}   {row['ratio']:.2f} times")


def cpu_name() -> str:
    """What Linux calls the CPU, with what it has for bfloat16."""
    lines = (read_text("/proc/cpuinfo") or "").splitlines()
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    bfloat16 = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in values.get("flags", "").split()]
    return f"{values.get('model name', 'unknown CPU')} ({', '.join(bfloat16) or 'no bfloat16'})"


def summary(name: str, times: list[Times], base: list[Times]) -> dict[str, Any]:
    """What is reported of a contender."""
    seconds = [wall for wall, _ in times]
    ratios = [theirs / own for own, (theirs, _) in zip(seconds, base, strict=True)]
    return {
        "name": name,
        "median": statistics.median(seconds),
        "min": min(seconds),
        "max": max(seconds),
        "cpu": statistics.median(cpu for _, cpu in times),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "seconds": seconds,
    }


def take_turns(names: list[str], folder: Path, config: Config, threads: int, rounds: int) -> dict[str, list[Times]]:
    """Times of a clip, `rounds` of each contender."""
    context = multiprocessing.get_context("spawn")
    ends: dict[str, Connection] = {}
    processes = []
    for name in names:
        ends[name], other = context.Pipe()
        processes.append(context.Process(target=_contend, args=(name, folder, config, threads, other), daemon=True))
        processes[-1].start()
        other.close()
        ends[name].recv()  # is ready
    times: dict[str, list[Times]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            ends[name].send(None)
            times[name].append(ends[name].recv())
            print(f"{number + 1}/{rounds} {name}: {times[name][-1][0]:.2f} s", file=sys.stderr, flush=True)
    for process in processes:
        process.terminate()
        process.join()
    return times


def _contend(name: str, folder: Path, config: Config, threads: int, connection: Connection) -> None:
    """Score a clip, and tell the time, whenever asked."""
    quieten()
    forward = CONTENDERS[name](folder, config, threads)
    shape = (1, config.model.frames + config.model.step, config.model.size, config.model.size, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    forward(frames)
    connection.send(None)
    while True:
        connection.recv()
        wall, cpu = time.perf_counter(), time.process_time()
        forward(frames)
        connection.send((time.perf_counter() - wall, time.process_time() - cpu))


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
    from kresp3d.models.p3d_resnet import build_model
    from kresp3d.run_folder import RunFolder

    keras.utils.set_random_seed(0)
    network = build_model(config.model, classes)
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

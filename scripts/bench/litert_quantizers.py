"""Which tool quantises a network to int8 best: accuracy on a run's test videos, size, speed, what stays float.

    pip install -e ".[litert]" litert-quantizer
    python scripts/bench/litert_quantizers.py runs/NAME

Every tool gets the same 200 training clips and the same float32 network. litert-quantizer's own calibration takes a
moving average of each tensor's range; "full ranges" gives it the smallest and largest value of all clips, as
TensorFlow's converter takes them. "biases corrected" is what `kresp3d export --quantize int8` writes. The time is of
the network alone, the files taking turns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from kresp3d.system.quiet import held_stderr, quieten

ROUNDS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    quieten()

    from kresp3d.export.litert import calibration_clips
    from kresp3d.export.parity import choose
    from kresp3d.inference.keras_engine import KerasEngine, load_network
    from kresp3d.runs.run_folder import RunFolder

    run = RunFolder.open(options.run)
    engine = KerasEngine(run)
    calibration = calibration_clips([clips_of(run, choose(run.records("train"), 200), 1)])
    records = run.records(run.config.evaluation.split)
    clips = clips_of(run, records, run.config.evaluation.clips)
    index = {label: number for number, label in enumerate(run.classes)}
    labels = np.array([index[record.label] for record in records])
    trained = np.concatenate([engine.probabilities(batch) for batch in np.array_split(clips, -(-len(clips) // 16))])

    with tempfile.TemporaryDirectory() as folder:
        files = write(load_network(run), calibration, Path(folder))
        networks = {name: Network(file, options.threads) for name, file in files.items()}
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for clip in clips[:ROUNDS]:
        for name, network in networks.items():
            start = time.perf_counter()
            network.scores(clip)
            seconds[name].append(time.perf_counter() - start)
    print(f"{len(clips)} clips of {len(labels)} videos, {options.threads} threads")
    print(f"trained network: video top-1 {100 * video_top1(trained, labels):.1f} %\n")
    print(f"{'':34}{'mean Δ':>8}{'max Δ':>7}{'same':>7}{'video':>7}{'kB':>6}{'ms':>7}  float inside")
    for name, network in networks.items():
        found = np.array([network.scores(clip) for clip in clips])
        difference, same = np.abs(found - trained), (found.argmax(axis=1) == trained.argmax(axis=1)).mean()
        print(
            f"{name:34}{difference.mean():8.4f}{difference.max():7.2f}{100 * same:7.1f}"
            f"{100 * video_top1(found, labels):7.1f}{len(files[name]) / 1e3:6.0f}"
            f"{1e3 * statistics.median(seconds[name]):7.1f}  {floats(files[name]) or 'nothing'}",
            flush=True,
        )


def clips_of(run: Any, records: Any, clips: int) -> np.ndarray:
    """Clips of videos, uint8 `[len(records) * clips, T + s, S, S, 3]`."""
    from kresp3d.records.pipeline import evaluation_dataset

    dataset = evaluation_dataset(records, run.records_folder, run.classes, run.config, clips=clips)
    return np.concatenate([batch["frames"] for batch, _ in dataset.as_numpy_iterator()])


def video_top1(scores: np.ndarray, labels: np.ndarray) -> float:
    means = scores.reshape(len(labels), -1, scores.shape[1]).mean(axis=1)
    return float((means.argmax(axis=1) == labels).mean())


def write(trained: Any, calibration: np.ndarray, folder: Path) -> dict[str, bytes]:
    """The network by every tool."""
    import tensorflow as tf
    from litert_quantizer import calibrator, quantizer, recipe
    from litert_quantizer.utils import qsv_utils

    from kresp3d.export.bias_correction import correct_biases
    from kresp3d.export.litert import CORRECTION_CLIPS, convert

    integer, plain = convert(trained, "int8", calibration), convert(trained, "none", None)
    with held_stderr():
        corrected = correct_biases(integer, plain, calibration[:: max(1, len(calibration) // CORRECTION_CLIPS)])
    files = {"float32": plain, "TensorFlow": integer, "TensorFlow, biases corrected": corrected}

    # litert-quantizer takes a float input and makes it int8; this is the same network with a float one.
    file = folder / "float.tflite"
    with held_stderr():
        file.write_bytes(_with_float_input(trained, tf))
    inputs = [{"frames": clip[None].astype(np.float32)} for clip in calibration]
    with contextlib.redirect_stdout(io.StringIO()), held_stderr():
        tool = quantizer.Quantizer(str(file))
        tool.load_quantization_recipe(recipe.static_wi8_ai8())
        files["litert-quantizer"] = bytes(tool.quantize(tool.calibrate({"serving_default": inputs})).quantized_model)
        full = calibrator.CalibrationInterpreter(
            str(file), mode=calibrator.CalibrationMode.CALIBRATION, qsv_update_func=qsv_utils.min_max_update
        )
        runner = full.get_signature_runner("serving_default")
        for values in inputs:
            runner(**values)
        tool = quantizer.Quantizer(str(file))
        tool.load_quantization_recipe(recipe.static_wi8_ai8())
        files["litert-quantizer, full ranges"] = bytes(tool.quantize(full.get_calibration_results()).quantized_model)
    return files


def _with_float_input(trained: Any, tf: Any) -> bytes:
    import keras

    from kresp3d.nn.transforms import inference_form

    network = inference_form(trained, input_dtype="float32")
    spec = keras.InputSpec(shape=(1, *network.input["frames"].shape[1:]), dtype="float32", name="frames")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.tflite"
        builtins = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
        network.export(
            str(file), format="litert", input_signature={"frames": spec}, verbose=False, target_spec=builtins
        )
        return file.read_bytes()


class Network:
    """A LiteRT file, whose input and output may be quantised."""

    def __init__(self, model: bytes, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with held_stderr():
            self._interpreter = Interpreter(model_content=model, num_threads=threads)
            self._interpreter.allocate_tensors()
        [self._input], [self._output] = self._interpreter.get_input_details(), self._interpreter.get_output_details()

    def scores(self, clip: np.ndarray) -> np.ndarray:
        """Probabilities of one clip, adding up to 1."""
        frames = clip[None]
        if self._input["dtype"] == np.int8:
            scale, zero = self._input["quantization"]
            frames = np.clip(np.round(frames / scale + zero), -128, 127).astype(np.int8)
        self._interpreter.set_tensor(self._input["index"], frames)
        self._interpreter.invoke()
        [scores] = self._interpreter.get_tensor(self._output["index"])
        if self._output["dtype"] == np.int8:
            scale, zero = self._output["quantization"]
            scores = (scores.astype(np.float32) - zero) * scale
        return scores / scores.sum()


def floats(model: bytes) -> str:
    """Operators with a float tensor, but for the step to the output, with how many there are."""
    from kresp3d.export.flatbuffer import FlatBuffer

    buffer = FlatBuffer(model)
    *inner, last = buffer.operators()
    found = inner if last.name == "DEQUANTIZE" else [*inner, last]
    names = [o.name for o in found if any(t >= 0 and "FLOAT" in buffer.dtype(t) for t in (*o.inputs, *o.outputs))]
    if "CONV_2D" in names:
        return "convolutions and more"
    return ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names)))


if __name__ == "__main__":
    main()

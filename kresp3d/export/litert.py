"""LiteRT files (`.tflite`), for phones and small computers.

trained ── inference form ──▶ TensorFlow's converter, batch 1 ──▶ int8: biases corrected ──▶ operators checked
                                                                       ──▶ description appended ──▶ run once
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kresp3d.compression.kernels import kernels
from kresp3d.compression.rounding import rounds_as_int8
from kresp3d.inference.litert_engine import LiteRTEngine, pack
from kresp3d.nn.transforms import inference_form
from kresp3d.runs.network_info import NetworkInfo, Quantize
from kresp3d.system.errors import KrespError
from kresp3d.system.quiet import held_stderr

#: Fewest clips on which the range of every tensor is measured: with fewer, values of new clips fall out of it.
MIN_CALIBRATION_CLIPS = 50

#: Clips on which the mean error of every layer is measured; a mean over a picture and a clip needs fewer than a range.
CORRECTION_CLIPS = 40

#: Of probabilities in an int8 network, which are multiples of 1/256.
PROBABILITY_RANGE = (0.0, 255 / 256)

#: By how much the probabilities of a class may fail to add up to 1.
_SUM_TOLERANCE = 1e-3


def write_litert(
    trained: keras.Model,
    info: NetworkInfo,
    path: Path,
    *,
    quantize: Quantize,
    calibration: Iterable[npt.NDArray[np.uint8]] | None = None,
) -> None:
    """Write a network as a LiteRT file, with its description inside.

    Whatever is quantised within, the file takes `frames`, uint8 `[1, frames + step, size, size, 3]`, and gives
    probabilities, float32 `[1, classes]`. It needs LiteRT's builtin operators only, and is run once.

    Args:
        trained: The network as it was trained.
        info: Its description.
        path: The `.tflite`.
        quantize: `none` computes and stores float32; `float16` stores float16; `dynamic` stores int8 weights and keeps
            float32 between the layers; `int8` computes everything in integers.
        calibration: For `int8`, clips of training videos, uint8 `[B, frames + step, size, size, 3]` each, at least
            `MIN_CALIBRATION_CLIPS` in all. Not for a network that was trained for int8: it has learned its ranges.

    Raises:
        KrespError: If LiteRT is not installed, there are too few clips, or the network needs what LiteRT does not have.
    """
    _check_installed()
    info = info.model_copy(update={"format": "litert", "quantize": quantize})
    is_rounded = rounds_as_int8(trained)
    if is_rounded and quantize != "int8":
        raise KrespError(f"{path.name}: the network was trained for int8 (qat); export it by --quantize int8 alone")
    clips = calibration_clips(calibration) if quantize == "int8" and not is_rounded else None
    network = convert_rounded(trained) if is_rounded else convert(trained, quantize, clips)
    if clips is not None:
        from kresp3d.export.bias_correction import correct_biases

        chosen = clips[:: max(1, len(clips) // CORRECTION_CLIPS)]
        with held_stderr():
            network = correct_biases(network, convert(trained, "none", None), chosen)
    check_operators(network, path, integer=quantize == "int8")
    path.write_bytes(pack(network, info))
    _try_out(path, clips)


def _check_installed() -> None:
    try:
        import ai_edge_litert.interpreter  # noqa: F401
    except ImportError as error:
        raise KrespError(f"LiteRT cannot be loaded ({error}); install it by `pip install 'kresp3d[litert]'`") from None


def calibration_clips(calibration: Iterable[npt.NDArray[np.uint8]] | None) -> npt.NDArray[np.uint8]:
    """Join batches of clips, uint8 `[N, frames + step, size, size, 3]`, made fit for measuring ranges.

    Raises:
        KrespError: If there are too few.
    """
    batches = list(calibration or ())
    count = sum(map(len, batches))
    if count < MIN_CALIBRATION_CLIPS:
        raise KrespError(
            f"int8 needs at least {MIN_CALIBRATION_CLIPS} different clips of training videos to measure the range of "
            f"every tensor, received {count}; train on more videos, or export without int8 by --quantize none "
            "--quantize float16 --quantize dynamic"
        )
    clips = np.concatenate(batches)
    # The darkest and the brightest value there can be, in two pixels that stand still: so the input's integers are the
    # frames' own values, whatever the other clips show.
    clips[0, :, 0, 0], clips[0, :, 0, -1] = 0, 255
    return clips


def convert(trained: keras.Model, quantize: Quantize, clips: npt.NDArray[np.uint8] | None) -> bytes:
    """Convert a network with TensorFlow's converter, through Keras' own export.

    Args:
        trained: The network as it was trained.
        quantize: See `write_litert`.
        clips: For `int8`, uint8 `[N, frames + step, size, size, 3]`, on which ranges are measured; else `None`.

    Returns:
        The LiteRT file, with no description yet; int8 as the converter left it.
    """
    import tensorflow as tf

    # The converter quantises an input only where it is a float.
    network = inference_form(trained, input_dtype="float32" if quantize == "int8" else "uint8", unsigned=True)
    frames = network.input["frames"]
    spec = keras.InputSpec(shape=(1, *frames.shape[1:]), dtype=frames.dtype, name="frames")
    target: dict[str, Any] = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    options: dict[str, Any] = {"target_spec": target}
    if quantize != "none":
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        target["supported_types"] = [tf.float16]
    if clips is not None:
        options["representative_dataset"] = lambda: ([clip[None].astype(np.float32)] for clip in clips)
        options["inference_input_type"] = tf.uint8
    with tempfile.TemporaryDirectory() as folder, held_stderr():
        file = Path(folder) / "network.tflite"
        network.export(str(file), format="litert", input_signature={"frames": spec}, verbose=False, **options)
        return file.read_bytes()


def convert_rounded(trained: keras.Model) -> bytes:
    """Convert a network that was trained for int8, with the ranges that it has learned.

    Args:
        trained: A network that rounds as an int8 network does, and whose kernels are rounded.

    Returns:
        The int8 LiteRT file, with no description yet.
    """
    import tensorflow as tf

    from kresp3d.compression.quantization import rounded
    from kresp3d.compression.tfmot_bridge import round_in_fixed_range

    network = inference_form(trained, input_dtype="float32")
    shape = network.input["frames"].shape[1:]

    # The converter takes ranges from operations that round, and these stand for integers in the file.
    @tf.function(input_signature=[tf.TensorSpec([1, *shape], tf.float32, name="frames")], autograph=False)
    def score(frames: Any) -> dict[str, Any]:
        frames = round_in_fixed_range(frames, 0.0, 255.0)
        with keras.StatelessScope(state_mapping=[(kernel.variable, rounded(kernel)) for kernel in kernels(network)]):
            probabilities = network({"frames": frames}, training=False)
        return {"probabilities": round_in_fixed_range(probabilities, *PROBABILITY_RANGE)}

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    with tempfile.TemporaryDirectory() as folder, held_stderr():
        tf.saved_model.save(module, folder, signatures={"serving_default": score})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.inference_input_type = tf.uint8
        file: bytes = converter.convert()
        return file


def check_operators(network: bytes, path: Path, *, integer: bool) -> None:
    """Make sure that LiteRT has every operator of a network.

    Args:
        network: The LiteRT file.
        path: Its name, for messages.
        integer: Whether it must also compute in integers, but for turning the last numbers into probabilities.

    Raises:
        KrespError: If it does not.
    """
    from kresp3d.export.flatbuffer import FlatBuffer

    buffer = FlatBuffer(network)
    *inner, last = operators = buffer.operators()
    foreign = sorted({operator.name for operator in operators if not operator.builtin})
    if foreign:
        raise KrespError(
            f"{path.name}: the network needs {', '.join(foreign)}, which LiteRT does not have; expected builtin "
            "operators only"
        )
    if integer:
        real = inner if last.name == "DEQUANTIZE" else operators
        floats = sorted({o.name for o in real if any(_is_float(buffer, t) for t in (*o.inputs, *o.outputs))})
        if floats:
            raise KrespError(
                f"{path.name}: {', '.join(floats)} would be computed in floating point, since LiteRT has no integer "
                "form of it; export without int8 by --quantize none --quantize float16 --quantize dynamic"
            )


def _is_float(buffer: Any, tensor: int) -> bool:
    return tensor >= 0 and buffer.dtype(tensor).startswith("FLOAT")


def _try_out(path: Path, clips: npt.NDArray[np.uint8] | None) -> None:
    """Run a file once.

    Raises:
        KrespError: If it gives no probabilities.
    """
    with held_stderr():
        engine = LiteRTEngine(path)
    clip = (
        np.random.default_rng(0).integers(0, 256, (1, *engine.info.clip.shape), np.uint8)
        if clips is None
        else clips[:1]
    )
    # LiteRT announces its delegate when it first computes.
    with held_stderr():
        [scores] = engine.probabilities(clip)
    if not np.isfinite(scores).all() or abs(scores.sum() - 1) > _SUM_TOLERANCE:
        raise KrespError(
            f"{path.name} was written, but gives scores that add up to {scores.sum():g}; expected probabilities"
        )

"""What works on this machine: the checks behind `kresp3d doctor`.

A check looks at one thing and returns [`Check`][kresp3d.api.doctor.Check] rows; it raises nothing. What a check
concludes from a version, a list of CPU flags or the like is a pure function of it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import os
import platform
import shutil
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kresp3d.system.machine import count_cores, cpu_flags, memory, read_text
from kresp3d.system.stores import IO_TENSORFLOW

Status = Literal["ok", "none", "warn", "fail"]

#: The TensorFlow releases, as "major.minor", that the tests run on.
TESTED_TENSORFLOW = ("2.16", "2.21")

GIB = 2**30

_VECTOR_FLAGS = {
    "avx": "AVX",
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "avx512_bf16": "AVX-512 bf16",
    "amx_bf16": "AMX bf16",
    "amx_int8": "AMX int8",
}
# (name, package, the module that runs the files, kresp3d's extra)
_FORMATS = (
    ("LiteRT", "ai-edge-litert", "ai_edge_litert.interpreter", "litert"),
    ("OpenVINO", "openvino", "openvino", "openvino"),
    ("ONNX", "onnxruntime", "onnxruntime", "onnx"),
    ("TF Serving", "tensorflow-serving-api", "tensorflow_serving.apis", "serving"),
)
# ffmpeg's codec -> (what is not possible without it, status then)
_DECODERS: dict[str, tuple[str, Status]] = {
    "h264": ("most videos, and the embedded dataset, cannot be read", "fail"),
    "mpeg4": ("UCF101 and HMDB51 cannot be read", "fail"),
    "hevc": ("videos of recent phones cannot be read", "warn"),
    "vp9": ("WebM videos cannot be read", "warn"),
    "av1": ("AV1 videos cannot be read", "warn"),
}


@dataclass(frozen=True, slots=True)
class Check:
    """What was found in one place.

    Args:
        part: The group of checks it belongs to.
        name: What was looked at.
        status: `ok`; `none`, not there and not needed; `warn`, something optional does not work or something is
            scarce; `fail`, kresp3d cannot do its work.
        found: What is there.
        advice: What to do about it; empty where there is nothing to do.
    """

    part: str
    name: str
    status: Status
    found: str
    advice: str = ""


def run_checks(folder: Path) -> list[Check]:
    """Run all checks.

    Args:
        folder: Where records and runs will be written.
    """
    cpu = check_cpu(read_text("/proc/cpuinfo"), platform.machine())
    checks = [check_python(sys.version_info[:3]), cpu, check_memory(*memory()), check_disk(folder)]
    if cpu.status == "fail":
        return checks
    return [*checks, *check_tensorflow(), *check_video(), *check_optional()]


def worst(checks: Iterable[Check]) -> Status:
    """The worst status of some checks."""
    order: tuple[Status, ...] = ("none", "ok", "warn", "fail")
    return max((check.status for check in checks), key=order.index, default="ok")


def check_python(version: tuple[int, ...]) -> Check:
    """Check Python's version."""
    found = f"{'.'.join(map(str, version))}, {platform.system()} {platform.machine()}"
    if version < (3, 11):
        return Check("machine", "Python", "fail", found, "install Python 3.11 or newer")
    return Check("machine", "Python", "ok", found)


def check_cpu(cpuinfo: str | None, machine: str) -> Check:
    """Check the number of cores and the vector instructions.

    Args:
        cpuinfo: The text of `/proc/cpuinfo`; `None` where the system has no such file.
        machine: The architecture, such as `x86_64`.
    """
    cores = count_cores()
    flags = cpu_flags(cpuinfo)
    known = [title for flag, title in _VECTOR_FLAGS.items() if flag in flags]
    found = f"{cores} core{'s' if cores > 1 else ''}; {', '.join(known) if known else 'vector instructions unknown'}"
    if machine.lower() in {"x86_64", "amd64"} and flags and "avx" not in flags:
        found = f"{cores} cores; no AVX"
        return Check("machine", "CPU", "fail", found, "TensorFlow's packages need AVX; use another machine")
    return Check("machine", "CPU", "ok", found)


def check_memory(total: int | None, available: int | None) -> Check:
    """Check the memory, in bytes; `None` where it is not known."""
    if total is None or available is None:
        return Check("machine", "Memory", "ok", "unknown")
    found = f"{available / GIB:.1f} GiB free of {total / GIB:.1f} GiB"
    if available < 4 * GIB:
        advice = "training the full network needs about 4 GiB or more; lower training.batch_size or model.frames"
        return Check("machine", "Memory", "warn", found, advice)
    return Check("machine", "Memory", "ok", found)


def check_disk(folder: Path) -> Check:
    """Check that `folder` can be written to and has some space."""
    found = f"{shutil.disk_usage(folder).free / GIB:.1f} GiB free in {folder}"
    if not os.access(folder, os.W_OK):
        return Check("machine", "Disk", "warn", f"{folder} is read-only", "run kresp3d in a folder of your own")
    if shutil.disk_usage(folder).free < 5 * GIB:
        advice = "records of UCF101 take about 7 GiB; free some, or set data.cache to another disk"
        return Check("machine", "Disk", "warn", found, advice)
    return Check("machine", "Disk", "ok", found)


def check_tensorflow() -> list[Check]:
    """Check TensorFlow, Keras, how they fit together, and the GPUs."""
    part = "network"
    try:
        import tensorflow as tf
    except Exception as error:
        return [Check(part, "TensorFlow", "fail", _short(error), _reinstall("tensorflow"))]
    try:
        import keras
    except Exception as error:
        return [Check(part, "Keras", "fail", _short(error), _reinstall("keras"))]
    rows = [tensorflow_version(tf.__version__), keras_version(keras.__version__, keras.backend.backend())]
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in {"1", "true"}:
        rows.append(Check(part, "tf.keras", "warn", "Keras 2, by TF_USE_LEGACY_KERAS", "unset TF_USE_LEGACY_KERAS"))
    return [*rows, *_check_gpus(tf)]


def tensorflow_version(version: str) -> Check:
    """Judge TensorFlow's version."""
    if _minor(version) in TESTED_TENSORFLOW:
        return Check("network", "TensorFlow", "ok", version)
    advice = f"tested with {' and '.join(TESTED_TENSORFLOW)}; if something fails, install one of these"
    return Check("network", "TensorFlow", "warn", version, advice)


def keras_version(version: str, backend: str) -> Check:
    """Judge Keras's version and backend."""
    found = f"{version} on {backend}"
    if not version.startswith("3."):
        return Check("network", "Keras", "fail", found, "kresp3d needs Keras 3: pip install --upgrade keras")
    if backend != "tensorflow":
        advice = "only the network itself runs on this backend; set KERAS_BACKEND=tensorflow for the commands"
        return Check("network", "Keras", "fail", found, advice)
    return Check("network", "Keras", "ok", found)


def _check_gpus(tf: object) -> list[Check]:
    config, test = tf.config, tf.test  # type: ignore[attr-defined]
    gpus = config.list_physical_devices("GPU")
    if not gpus:
        driver = Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()
        return [no_gpu(driver, test.is_built_with_cuda(), os.environ.get("CUDA_VISIBLE_DEVICES"))]
    rows = []
    for gpu in gpus:
        details = config.experimental.get_device_details(gpu)
        name = gpu.name.removeprefix("/physical_device:")
        capability = ".".join(map(str, details.get("compute_capability", ())))
        found = details.get("device_name", "unknown") + (f", compute capability {capability}" if capability else "")
        try:
            with tf.device(name):  # type: ignore[attr-defined]
                ones = tf.ones([64, 64])  # type: ignore[attr-defined]
                tf.linalg.matmul(ones, ones).numpy()  # type: ignore[attr-defined]
        except Exception as error:
            advice = "update the driver, or set CUDA_VISIBLE_DEVICES=-1 to work on the CPU"
            rows.append(Check("network", name, "fail", f"{found}: {_short(error)}", advice))
        else:
            rows.append(Check("network", name, "ok", found))
    return rows


def no_gpu(driver: bool, built_with_cuda: bool, visible: str | None) -> Check:
    """Say why TensorFlow sees no GPU.

    Args:
        driver: Whether NVIDIA's driver is loaded.
        built_with_cuda: Whether this TensorFlow can use one at all.
        visible: The value of `CUDA_VISIBLE_DEVICES`; `None` where it is not set.
    """
    if not driver:
        return Check("network", "GPU", "none", "no NVIDIA driver; the CPU is used")
    if not built_with_cuda:
        return Check("network", "GPU", "warn", "TensorFlow is built without CUDA", "install kresp3d[gpu] on Linux")
    if visible is not None and visible.strip() in {"", "-1"}:
        return Check("network", "GPU", "none", f"hidden by CUDA_VISIBLE_DEVICES={visible!r}; the CPU is used")
    advice = 'install CUDA\'s libraries: pip install "kresp3d[gpu]"; `kresp3d --debug doctor` shows what is missing'
    return Check("network", "GPU", "warn", "there is an NVIDIA driver, but TensorFlow finds no GPU", advice)


def check_video() -> list[Check]:
    """Check PyAV, the codecs of its ffmpeg, and a video written and read back."""
    try:
        import av
    except Exception as error:
        return [Check("video", "PyAV", "fail", _short(error), _reinstall("av"))]
    rows = [Check("video", "PyAV", "ok", f"{av.__version__}, ffmpeg {av.ffmpeg_version_info}")]
    return [*rows, judge_decoders(av.codecs_available), _check_encoder()]


def judge_decoders(available: Collection[str]) -> Check:
    """Judge the codecs that can be read.

    Args:
        available: ffmpeg's names of all codecs that are there.
    """
    found = ", ".join(name for name in _DECODERS if name in available)
    missing = [name for name in _DECODERS if name not in available]
    if not missing:
        return Check("video", "Decoders", "ok", found)
    status: Status = "fail" if any(_DECODERS[name][1] == "fail" for name in missing) else "warn"
    reasons = "; ".join(f"no {name}: {_DECODERS[name][0]}" for name in missing)
    return Check("video", "Decoders", status, found or "none", f"{reasons}; {_reinstall('av')}")


def _check_encoder() -> Check:
    import av
    import numpy as np

    picture = np.full((32, 48, 3), 128, np.uint8)
    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        buffer.seek(0)
        with av.open(buffer, "r") as source:
            shapes = [frame.to_ndarray(format="rgb24").shape for frame in source.decode(video=0)]
    except Exception as error:
        return Check("video", "H.264 file", "fail", _short(error), _reinstall("av"))
    if shapes != [picture.shape]:
        return Check("video", "H.264 file", "fail", "read back otherwise than written", "install another release of av")
    return Check("video", "H.264 file", "ok", "written with libx264 and read back")


def check_optional() -> list[Check]:
    """Check the packages that some commands use."""
    return [
        _check_import("tensorboard", "tensorboard", "curves of a run cannot be looked at", _import("tensorboard.main")),
        _check_import("keras-tuner", "keras-tuner", "no hyperparameter search", _import("keras_tuner")),
        _check_import(
            "tfmot",
            "tensorflow-model-optimization",
            "no pruning, clustering or quantisation-aware training",
            _import("tensorflow_model_optimization"),
        ),
        _check_io(),
        *(_check_format(*row) for row in _FORMATS),
        _check_import(
            "apache-beam",
            "apache-beam",
            "only to prepare and score as pipelines: pip install 'kresp3d[beam]'",
            _import("apache_beam"),
            needed=False,
        ),
        _check_import("jax", "jax", "only to run the network on Keras's JAX backend", _import("jax"), needed=False),
    ]


def _check_io() -> Check:
    installed, tensorflow = _version("tensorflow-io"), _version("tensorflow")
    row = io_version(installed, tensorflow)
    if row.status != "ok" or installed is None:
        return row
    return _check_import(row.name, "tensorflow-io", row.advice, _load_io)


def _load_io() -> object:
    # The package imports nearly anywhere; its operators are loaded when the first of them is asked for.
    return importlib.import_module("tensorflow_io.python.ops").core_ops.io_decode_json


def io_version(installed: str | None, tensorflow: str | None) -> Check:
    """Judge whether tensorflow-io can load beside TensorFlow.

    Args:
        installed: The version of tensorflow-io; `None` where it is not installed.
        tensorflow: The version of TensorFlow; `None` where it is not installed.
    """
    name = "tensorflow-io"
    rule = f"it loads with TensorFlow {IO_TENSORFLOW} only"
    if installed is None:
        advice = 'for s3://, az:// and hdfs://: pip install "kresp3d[io]" in an environment of its own'
        return Check("optional", name, "none", f"not installed; {rule}, and here is {tensorflow}", advice)
    if tensorflow is None or _minor(tensorflow) != IO_TENSORFLOW:
        found = f"{installed} beside TensorFlow {tensorflow}: {rule}"
        return Check("optional", name, "warn", found, 'pip install "kresp3d[io]", or uninstall tensorflow-io')
    return Check("optional", name, "ok", installed)


def _check_format(name: str, package: str, module: str, extra: str) -> Check:
    """Check a package that exported files are written or run with."""
    if _version(package) is None:
        return Check("optional", name, "none", "not installed", f"to export for it: pip install 'kresp3d[{extra}]'")
    if package == "openvino":
        from kresp3d.inference.openvino_engine import load_openvino

        return _check_import(name, package, "", load_openvino)
    return _check_import(name, package, "", _import(module))


def _check_import(name: str, package: str, without: str, load: Callable[[], object], needed: bool = True) -> Check:
    version = _version(package)
    if version is None:
        if not needed:
            return Check("optional", name, "none", f"not installed; {without}")
        return Check("optional", name, "warn", f"not installed: {without}", f"pip install {package}")
    try:
        load()
    except Exception as error:
        found = f"{version} does not load: {_short(error)}"
        return Check("optional", name, "warn", found, _reinstall(package))
    return Check("optional", name, "ok", version)


def _import(module: str) -> Callable[[], object]:
    return lambda: importlib.import_module(module)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _reinstall(package: str) -> str:
    return f"pip install --force-reinstall {package}"


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}{'…' if len(text) > 160 else ''}"

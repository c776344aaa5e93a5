"""From a run to exported networks that were compared with it.

run ── inference form ──▶ written aside ──▶ compared on test clips ──▶ renamed into place, or to *.rejected
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
import numpy.typing as npt

from kresp3d.data.pipeline import evaluation_dataset
from kresp3d.errors import KrespError
from kresp3d.export.parity import PARITY_FILE, Parity, choose, compare, read_parity, score
from kresp3d.inference.bench import bench
from kresp3d.inference.engine import Engine, Precision
from kresp3d.inference.keras_engine import KerasEngine, load_network
from kresp3d.inference.network_info import QUANTIZE, NetworkInfo, Quantize
from kresp3d.inference.open_engine import open_engine
from kresp3d.run_folder import RunFolder, locked, write_text

ExportFormat = Literal["saved_model", "litert", "openvino", "onnx"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

#: Packages that writing and running a format takes, by their import names; TensorFlow is always there.
PACKAGES: dict[ExportFormat, tuple[str, ...]] = {
    "saved_model": (),
    "litert": ("ai_edge_litert",),
    "openvino": ("openvino",),
    "onnx": ("onnx", "onnxruntime", "tf2onnx"),
}

#: Training clips on which integer ranges are measured.
CALIBRATION_CLIPS = 200

_PART = ".part-"

#: Called with what is done, the number done and the number of all.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Artefact:
    """An exported network to be: its format, and the name of its file, or of its folder for a SavedModel."""

    format: ExportFormat
    quantize: Quantize
    name: str

    @property
    def files(self) -> tuple[str, ...]:
        """All names that belong to it."""
        return (self.name, str(Path(self.name).with_suffix(".bin"))) if self.format == "openvino" else (self.name,)


def installed_formats() -> list[ExportFormat]:
    """The formats whose packages are installed."""
    return [name for name, packages in PACKAGES.items() if all(find_spec(package) for package in packages)]


def export(
    run: RunFolder,
    folder: Path,
    *,
    formats: Sequence[ExportFormat],
    quantize: Sequence[Quantize] = QUANTIZE,
    videos: int = 300,
    overwrite: bool = False,
    progress: Progress = lambda doing, done, total: None,
) -> list[Parity]:
    """Export the network of a run, and compare every artefact with it on clips of the run's test videos.

    An artefact outside its tolerance is kept as `NAME.rejected`.

    Args:
        run: A finished run whose records are there.
        folder: Where the artefacts go; made where it is missing.
        formats: What to write.
        quantize: Which LiteRT files to write.
        videos: At most so many test videos are used for the comparison, spread over the classes.
        overwrite: Whether files of the same names are replaced. A SavedModel never is: it gets the next version.
        progress: Told how far the work is.

    Returns:
        One entry for each artefact and each precision it can run in.

    Raises:
        KrespError: If the run has no network or its videos are gone, a package is missing, a file is in the way, or
            the disk is full. Nothing half-written is left under a final name.
    """
    engine = KerasEngine(run)
    _check_packages(formats)
    split = run.config.evaluation.split
    records = choose(run.records(split), videos)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, f"exporting into {folder}; wait for it, or give another --to"), _disk_errors(folder):
        for left in folder.glob(f"{_PART}*"):
            shutil.rmtree(left)
        # A damaged one is found before the work, not after it.
        read_parity(folder)
        plan = _plan(engine.info.name, folder, formats, quantize)
        taken = [name for artefact in plan for name in artefact.files if (folder / name).exists()]
        if taken and not overwrite:
            raise KrespError(f"{folder / taken[0]} is there already; replace it by --overwrite, or give another --to")
        with tempfile.TemporaryDirectory(prefix=_PART, dir=folder) as aside:
            _write_all(run, engine.info, plan, Path(aside), progress)
            found = _compare_all(run, engine, records, plan, Path(aside), progress)
            _publish(plan, found, Path(aside), folder)
        if "saved_model" in formats:
            _write_serving(folder, engine.info)
        _write_parity(folder, run, engine.info.source, split, found)
    return found


def _check_packages(formats: Sequence[ExportFormat]) -> None:
    for name in formats:
        missing = [package for package in PACKAGES[name] if find_spec(package) is None]
        if missing:
            raise KrespError(
                f"the format {name} needs {', '.join(missing)}, which is not installed; pip install 'kresp3d[{name}]'"
            )


def _plan(name: str, folder: Path, formats: Sequence[ExportFormat], quantize: Sequence[Quantize]) -> list[Artefact]:
    plan: list[Artefact] = []
    for form in formats:
        if form == "saved_model":
            plan.append(Artefact(form, "none", str(_next_version(folder))))
        elif form == "litert":
            plan += [Artefact(form, q, f"{name}-{'float32' if q == 'none' else q}.tflite") for q in quantize]
        else:
            plan.append(Artefact(form, "none", f"{name}.{'xml' if form == 'openvino' else 'onnx'}"))
    return plan


def _next_version(folder: Path) -> int:
    # A rejected version's number is not given again.
    numbers = [int(p.name.removesuffix(".rejected")) for p in folder.glob("*") if _is_version(p)]
    return max(numbers, default=0) + 1


def _is_version(path: Path) -> bool:
    return path.is_dir() and path.name.removesuffix(".rejected").isdecimal()


def _write_all(run: RunFolder, info: NetworkInfo, plan: Sequence[Artefact], aside: Path, progress: Progress) -> None:
    trained = load_network(run)
    calibration = _calibration(run) if any(a.quantize == "int8" for a in plan) else None
    for done, artefact in enumerate(plan):
        progress("Exporting", done, len(plan))
        _write(artefact, trained, info, aside / artefact.name, calibration)
    progress("Exporting", len(plan), len(plan))


def _write(
    artefact: Artefact,
    trained: keras.Model,
    info: NetworkInfo,
    path: Path,
    calibration: list[npt.NDArray[np.uint8]] | None,
) -> None:
    if artefact.format == "saved_model":
        from kresp3d.export.saved_model import write_saved_model

        write_saved_model(trained, info, path)
    elif artefact.format == "litert":
        from kresp3d.export.litert import write_litert

        write_litert(trained, info, path, quantize=artefact.quantize, calibration=calibration)
    elif artefact.format == "openvino":
        from kresp3d.export.openvino import write_openvino

        write_openvino(trained, info, path)
    else:
        from kresp3d.export.onnx import write_onnx

        write_onnx(trained, info, path)


def _calibration(run: RunFolder) -> list[npt.NDArray[np.uint8]]:
    """Clips of training videos, spread over the classes: batches uint8 `[b, T + s, S, S, 3]`."""
    records = choose(run.records("train"), CALIBRATION_CLIPS)
    clips = -(-CALIBRATION_CLIPS // len(records))
    dataset = evaluation_dataset(records, run.records_folder, run.classes, run.config, clips=clips)
    return [batch["frames"] for batch, _ in dataset.as_numpy_iterator()]


def _compare_all(
    run: RunFolder, trained: Engine, records: Sequence[Any], plan: Sequence[Artefact], aside: Path, progress: Progress
) -> list[Parity]:
    rows = [(artefact, precision) for artefact in plan for precision in _precisions(artefact)]
    engines = [open_engine(aside / artefact.name, precision=precision) for artefact, precision in rows]
    clips = run.config.evaluation.clips
    reference, *scores = score(
        [trained, *engines], run, records, clips=clips, progress=lambda d, t: progress("Comparing", d, t)
    )
    index = {label: number for number, label in enumerate(run.classes)}
    labels = np.array([index[record.label] for record in records])
    found = []
    for (artefact, precision), engine, values in zip(rows, engines, scores, strict=True):
        parity = compare(artefact.name, engine, precision, values, reference, labels)
        [cost] = bench([aside / artefact.name], batches=(1,), precision=precision, seconds=2.0)
        found.append(parity.with_cost(size=cost.size, latency=cost.timings[0].median, peak_memory=cost.peak_memory))
        progress("Timing", len(found), len(rows))
    return found


def _precisions(artefact: Artefact) -> tuple[Precision, ...]:
    if artefact.format != "openvino":
        return ("float32",)
    from kresp3d.inference.openvino_engine import has_bfloat16, load_openvino

    return ("float32", "bfloat16") if has_bfloat16(load_openvino().Core()) else ("float32",)


def _publish(plan: Sequence[Artefact], found: Sequence[Parity], aside: Path, folder: Path) -> None:
    for artefact in plan:
        good = all(parity.within for parity in found if parity.artefact == artefact.name)
        for name in reversed(artefact.files):
            target = folder / (name if good else f"{name}.rejected")
            if target.is_dir():
                shutil.rmtree(target)
            (aside / name).rename(target)


def _write_serving(folder: Path, info: NetworkInfo) -> None:
    from kresp3d.export.serving import write_batching_parameters, write_models_config

    write_models_config(folder, info.name)
    write_batching_parameters(folder)


def _write_parity(folder: Path, run: RunFolder, source: str, split: str, found: Sequence[Parity]) -> None:
    """Note how the new artefacts compare; what is known of others that are still there is kept."""
    file = folder / PARITY_FILE
    new = {parity.artefact for parity in found}
    rows = [parity.to_json() for parity in found]
    earlier = read_parity(folder) or {"artefacts": []}
    rows = [r for r in earlier["artefacts"] if r["artefact"] not in new and (folder / r["artefact"]).exists()] + rows
    values = {"run": str(run.path.resolve()), "source": source, "split": split, "artefacts": rows}
    write_text(file, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turn a failure to write, Python's or TensorFlow's, into a sentence that names the folder."""
    import tensorflow as tf

    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        # TensorFlow names the operation around its message.
        reason = re.sub(r"\{\{.*?\}\}|\[Op:\w+\]", "", reason)
        raise KrespError(
            f"cannot export into {folder}: {' '.join(reason.split())[:300]}; nothing was changed there. "
            "Make room or put the permissions right, then export again"
        ) from error

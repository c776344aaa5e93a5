"""From a run to exported networks that were compared with it.

run ── inference form ──▶ written aside ──▶ compared on test clips ──▶ renamed into place, or to *.rejected
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
import numpy.typing as npt

from kresp3d.export.calibration import calibration_frames
from kresp3d.export.parity import Parity, choose, compare, score
from kresp3d.inference.bench import bench
from kresp3d.inference.engine import Engine, Precision
from kresp3d.inference.keras_engine import KerasEngine, load_network
from kresp3d.inference.open_engine import open_engine
from kresp3d.inference.source import PARITY_FILE, read_parity
from kresp3d.records.index import Record
from kresp3d.runs.network_info import QUANTIZE, NetworkInfo, Quantize
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import locked, publish, put_together, remove, write_text
from kresp3d.system.storage import reason

ExportFormat = Literal["saved_model", "litert", "openvino", "onnx"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

#: Packages that writing and running a format takes, by their import names; TensorFlow is always there.
PACKAGES: dict[ExportFormat, tuple[str, ...]] = {
    "saved_model": (),
    "litert": ("ai_edge_litert",),
    "openvino": ("openvino",),
    "onnx": ("onnx", "onnxruntime", "tf2onnx"),
}

#: What a file out of its tolerance is kept as: its name and this.
REJECTED = ".rejected"

#: Folders in which an export is put together begin so.
_ASIDE = ".export-"

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
    quantize: Sequence[Quantize] | None = None,
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
        quantize: Which LiteRT files to write; by default all that the network has.
        videos: At most so many test videos are used for the comparison, spread over the classes.
        overwrite: Whether files of the same names are replaced, and networks of another run may be in the folder. A
            SavedModel is never replaced: it gets the next version.
        progress: Told how far the work is.

    Returns:
        One entry for each artefact and each precision it can run in.

    Raises:
        UsageError: If the folder is a file, or `quantize` is given and no LiteRT file is to be written.
        KrespError: If the run has no network or its videos are gone, a package is missing, a file or another run's
            network is in the way, or the disk is full. Nothing half-written is left under a final name.
    """
    formats = tuple(dict.fromkeys(formats))
    quantize = _quantizations(run, formats, quantize)
    _check_folder(folder, formats)
    _check_packages(formats)
    engine = KerasEngine(run)
    records = choose(_records(run), videos)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, f"exporting into {folder}; wait for it, or give another --to"):
        _clear(folder)
        plan = _plan(engine.info.name, folder, formats, quantize)
        # A damaged one is found before the work, not after it.
        rows = read_parity(folder)
        if not overwrite:
            _check_free(folder, rows, run, engine.info.source, plan)
        calibration = calibration_frames(run) if _is_calibrated(run, plan) else None
        with ExitStack() as closing:
            with _disk_errors(folder, "nothing was changed there"):
                aside = closing.enter_context(put_together(folder, _ASIDE))
                _write_all(run, engine.info, plan, aside, calibration, progress)
            found = _compare_all(run, engine, records, plan, aside, progress)
            with _disk_errors(folder, "some of the new files are in their places already"):
                found = _publish(plan, found, aside, folder)
                if "saved_model" in formats:
                    _write_serving(folder, engine.info)
                _write_parity(folder, run, engine.info.source, found)
    return found


def _quantizations(
    run: RunFolder, formats: Sequence[ExportFormat], wanted: Sequence[Quantize] | None
) -> tuple[Quantize, ...]:
    if wanted is None and _for_int8(run):
        return ("int8",)
    if wanted is None:
        # 3D convolutions, as the baseline has, stay floats in LiteRT.
        return tuple(q for q in QUANTIZE if q != "int8" or run.config.model.variant != "full3d")
    if "litert" not in formats:
        raise UsageError(
            f"--quantize {wanted[0]} is for LiteRT files, but {', '.join(formats)} is to be written; add --format "
            "litert, or leave out --quantize"
        )
    return tuple(dict.fromkeys(wanted))


def _is_calibrated(run: RunFolder, plan: Sequence[Artefact]) -> bool:
    """Whether ranges are to be measured, which a network that was trained for int8 knows."""
    return not _for_int8(run) and any(artefact.quantize == "int8" for artefact in plan)


def _for_int8(run: RunFolder) -> bool:
    """Whether a run's network was trained for int8."""
    return "qat" in run.config.compress.methods


def _check_folder(folder: Path, formats: Sequence[ExportFormat]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, but an export needs a folder; give another one by --to")
    if "saved_model" in formats:
        from kresp3d.inference.saved_model_engine import check_path

        check_path(folder.resolve())


def _records(run: RunFolder) -> list[Record]:
    """The videos to compare on."""
    split = run.config.evaluation.split
    if split not in run.splits:
        raise KrespError(
            f"{run.path} has no {split} videos to compare the files on; set evaluation.split in {run.config_file} to a "
            f"split that it has ({', '.join(sorted(run.splits))})"
        )
    return run.records(split)


def _clear(folder: Path) -> None:
    """Remove what an export left that was killed. For whoever holds the folder's lock."""
    for left in (*folder.glob(f"{_ASIDE}*"), *folder.glob(f".part-*-{PARITY_FILE}")):
        remove(left)


def _check_free(
    folder: Path, rows: Sequence[dict[str, Any]], run: RunFolder, source: str, plan: Sequence[Artefact]
) -> None:
    """Make sure that nothing is replaced, and that the folder holds no other run's networks.

    A run that was trained again, and one that was moved, are not another run.
    """
    here = str(run.path.resolve())
    for row in rows:
        if row["run"] != here and row["source"] != source and (folder / row["artefact"]).exists():
            raise KrespError(
                f"{folder} holds {row['artefact']}, made of another run ({row['run']}); give another --to, or put this "
                "run's networks beside it by --overwrite"
            )
    for name in (name for artefact in plan for name in artefact.files):
        if (folder / name).exists():
            raise KrespError(f"{folder / name} is there already; replace it by --overwrite, or give another --to")


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
    numbers = [int(p.name.removesuffix(REJECTED)) for p in folder.glob("*") if _is_version(p)]
    return max(numbers, default=0) + 1


def _is_version(path: Path) -> bool:
    return path.is_dir() and path.name.removesuffix(REJECTED).isdecimal()


def _write_all(
    run: RunFolder,
    info: NetworkInfo,
    plan: Sequence[Artefact],
    aside: Path,
    calibration: list[npt.NDArray[np.uint8]] | None,
    progress: Progress,
) -> None:
    trained = load_network(run)
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
        parity = compare(artefact.name, engine, precision, values, reference, labels, rounds=_for_int8(run))
        [cost] = bench([aside / artefact.name], batches=(1,), precision=precision, seconds=2.0)
        found.append(parity.with_cost(size=cost.size, latency=cost.timings[0].median, peak_memory=cost.peak_memory))
        progress("Timing", len(found), len(rows))
    return found


def _precisions(artefact: Artefact) -> tuple[Precision, ...]:
    if artefact.format != "openvino":
        return ("float32",)
    from kresp3d.inference.openvino_engine import has_bfloat16, load_openvino

    return ("float32", "bfloat16") if has_bfloat16(load_openvino().Core()) else ("float32",)


def _publish(plan: Sequence[Artefact], found: Sequence[Parity], aside: Path, folder: Path) -> list[Parity]:
    """Put every artefact into its place; gives `found` with the names that they have there."""
    rejected = {parity.artefact for parity in found if parity.decides and not parity.within}
    for artefact in plan:
        for name in reversed(artefact.files):
            target = folder / (f"{name}{REJECTED}" if artefact.name in rejected else name)
            publish(aside / name, target)
    return [replace(p, artefact=p.artefact + REJECTED) if p.artefact in rejected else p for p in found]


def _write_serving(folder: Path, info: NetworkInfo) -> None:
    from kresp3d.export.serving import write_batching_parameters, write_models_config

    write_models_config(folder, info.name)
    write_batching_parameters(folder)


def _write_parity(folder: Path, run: RunFolder, source: str, found: Sequence[Parity]) -> None:
    """Note how the new artefacts compare; what is known of others that are still there is kept."""
    new = {parity.artefact for parity in found}
    origin = {"run": str(run.path.resolve()), "source": source, "split": run.config.evaluation.split}
    rows = [r for r in read_parity(folder) if r["artefact"] not in new and (folder / r["artefact"]).exists()]
    rows += [{**parity.to_json(), **origin} for parity in found]
    write_text(folder / PARITY_FILE, json.dumps({"artefacts": rows}, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def _disk_errors(folder: Path, state: str) -> Iterator[None]:
    """Turn a failure to write, Python's or TensorFlow's, into a sentence that names the folder and its state."""
    import tensorflow as tf

    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise KrespError(
            f"cannot export into {folder}: {reason(error)}; {state}. "
            "Make room or put the permissions right, then export again"
        ) from error

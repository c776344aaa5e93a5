"""What a compression has come to: `compression.json` in its run folder, and a table of it."""

from __future__ import annotations

import gzip
import json
import logging
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kresp3d.compression.kernels import kernels
from kresp3d.compression.rounding import rounds_as_int8
from kresp3d.inference.keras_engine import load_network
from kresp3d.nn.transforms import inference_form
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError
from kresp3d.system.files import write_text

logger = logging.getLogger("kresp3d")


@dataclass(frozen=True)
class Size:
    """What a network takes, in its inference form."""

    weights: int
    """Of all kernels."""
    zeros: int
    """How many of these are zero."""
    float32: int
    """Bytes of all weights, biases included."""
    gzip: int
    """Bytes of the same when gzip has packed them."""
    litert: int | None
    """Bytes of the LiteRT file: int8 of a network that was trained for it, else float32. `None` without LiteRT."""
    litert_gzip: int | None
    """Bytes of the same when gzip has packed it."""
    layers: dict[str, dict[str, int]]
    """Of each kernel, by the name of its layer: the number of weights, of zeros, and of different values."""

    @classmethod
    def of(cls, network: keras.Model) -> Size:
        """Measure a network as it was trained."""
        folded = inference_form(network)
        found = kernels(folded)
        content = b"".join(np.ascontiguousarray(values).tobytes() for values in folded.get_weights())
        file = _litert(network)
        return cls(
            weights=sum(kernel.size for kernel in found),
            zeros=sum(kernel.zeros for kernel in found),
            float32=len(content),
            gzip=_packed(content),
            litert=len(file) if file else None,
            litert_gzip=_packed(file) if file else None,
            layers={
                kernel.name: {
                    "weights": kernel.size,
                    "zeros": kernel.zeros,
                    "values": len(np.unique(kernel.variable.numpy())),
                }
                for kernel in found
            },
        )


def _packed(content: bytes) -> int:
    return len(gzip.compress(content, mtime=0))


def _litert(network: keras.Model) -> bytes | None:
    if find_spec("ai_edge_litert") is None:
        return None
    from kresp3d.export.litert import convert, convert_rounded

    try:
        return convert_rounded(network) if rounds_as_int8(network) else convert(network, "none", None)
    except KrespError as error:
        # Only a size is missing then; the network itself can be trained and measured.
        logger.warning("the size of the LiteRT file is not known: %s", error)
        return None


def note_before(source: RunFolder, run: RunFolder, network: keras.Model) -> None:
    """Note what a network takes that is to be compressed.

    Args:
        source: The run that trained it.
        run: The run that compresses it.
        network: As it was trained.
    """
    methods, path = run.config.compress.methods, str(source.path.resolve())
    _write(run, {"methods": methods, "source": path, "before": asdict(Size.of(network))})


def report(run: RunFolder) -> Table:
    """Note what the network of a run takes that was compressed, and set it beside what it was before.

    Returns:
        Both, for the console.

    Raises:
        KrespError: If `compression.json` is gone or damaged.
    """
    try:
        values = json.loads(run.compression_file.read_text(encoding="utf-8"))
        rows = [(Path(values["source"]).name, Size(**values["before"]))]
    except (OSError, ValueError, LookupError, TypeError):
        raise KrespError(
            f"{run.compression_file} is gone or damaged, so that there is nothing to compare the network with; the run "
            "itself is whole"
        ) from None
    rows.append((run.path.resolve().name, Size.of(load_network(run))))
    _write(run, {**values, "after": asdict(rows[-1][1])})
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("", "weights", "zero", "kB", "kB\npacked", "LiteRT\nkB", "LiteRT\nkB packed"):
        table.add_column(column, justify="right" if column else "left", vertical="bottom")
    for name, size in rows:
        kilobytes = (size.float32, size.gzip, size.litert, size.litert_gzip)
        table.add_row(
            Text(name),
            f"{size.weights:,}",
            f"{size.zeros / size.weights:.1%}",
            *("–" if value is None else f"{value / 1000:,.0f}" for value in kilobytes),
        )
    table.caption = (
        "Of the network that computes scores: all its numbers in float32, and its LiteRT file (int8 after qat); packed "
        "by gzip."
    )
    table.caption_justify = "left"
    return table


def _write(run: RunFolder, values: dict[str, Any]) -> None:
    with run.disk_errors():
        write_text(run.compression_file, json.dumps(values, indent=2) + "\n")

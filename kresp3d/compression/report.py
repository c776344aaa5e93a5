"""What a compression has come to: `compression.json` in its run folder, and a table of it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kresp3d.compression.kernels import kernels
from kresp3d.files import write_text
from kresp3d.inference.keras_engine import load_network
from kresp3d.models.inference_network import inference_network
from kresp3d.run_folder import RunFolder


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
    layers: dict[str, dict[str, int]]
    """Of each kernel, by the name of its layer: the number of weights, of zeros, and of different values."""

    @classmethod
    def of(cls, network: keras.Model) -> Size:
        """Measure a network as it was trained."""
        folded = inference_network(network)
        found = kernels(folded)
        content = b"".join(np.ascontiguousarray(values).tobytes() for values in folded.get_weights())
        return cls(
            weights=sum(kernel.size for kernel in found),
            zeros=sum(kernel.zeros for kernel in found),
            float32=len(content),
            gzip=len(gzip.compress(content, mtime=0)),
            layers={
                kernel.name: {
                    "weights": kernel.size,
                    "zeros": kernel.zeros,
                    "values": len(np.unique(kernel.variable.numpy())),
                }
                for kernel in found
            },
        )


def report(source: RunFolder, run: RunFolder) -> Table:
    """Compare the networks of two runs, and note it in the second one's folder.

    Args:
        source: The run whose network was compressed.
        run: The run that compressed it.

    Returns:
        Both side by side, for the console.
    """
    before, after = (Size.of(load_network(each)) for each in (source, run))
    values: dict[str, Any] = {
        "methods": run.config.compress.methods,
        "source": str(source.path.resolve()),
        "before": vars(before),
        "after": vars(after),
    }
    write_text(run.compression_file, json.dumps(values, indent=2) + "\n")
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("", "weights", "zero", "kB", "kB packed"):
        table.add_column(column, justify="right" if column else "left")
    for name, size in ((source.path.name, before), (run.path.name, after)):
        table.add_row(
            Text(name),
            f"{size.weights:,}",
            f"{size.zeros / size.weights:.1%}",
            f"{size.float32 / 1000:,.0f}",
            f"{size.gzip / 1000:,.0f}",
        )
    table.caption = "Of the network that computes scores, in float32; packed by gzip."
    table.caption_justify = "left"
    return table

"""The run that a network comes from, which of an exported one the `parity.json` beside it says.

Nothing here needs TensorFlow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kresp3d.runs.network_info import NetworkInfo, sha256
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError
from kresp3d.system.storage import location

#: Beside the exported networks: the run that each was made of, and how it compares with it.
PARITY_FILE = "parity.json"


def source_run(artefact: Path) -> Path | None:
    """The run that an exported network was made of, as the `parity.json` beside it says; `None` where none does."""
    runs = (location(row["run"]) for row in read_parity(artefact.parent) if row["artefact"] == artefact.name)
    return next(runs, None)


def read_parity(folder: Path) -> list[dict[str, Any]]:
    """The rows of the `parity.json` of a folder; none where there is no such file.

    Each is what `Parity.to_json` gave, with the `run` that the artefact was made of, the SHA-256 of its `model.keras`
    (`source`) and the `split` whose videos were used.

    Raises:
        KrespError: If it is damaged.
    """
    file = folder / PARITY_FILE
    if not file.is_file():
        return []
    try:
        rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["artefacts"]
        whole = all(isinstance(row[key], str) for row in rows for key in ("artefact", "run", "source"))
    except (ValueError, LookupError, TypeError):
        whole = False
    if not whole:
        raise KrespError(f"{file} is damaged, or of an earlier kresp3d; delete it, and export the run again")
    return rows


def trained_in(network: Path, info: NetworkInfo) -> RunFolder | None:
    """Find the run that trained a network: a run folder itself, or the one that an exported network was made of.

    Args:
        network: A run folder, or what `kresp3d.inference.open_engine.network_path` gives of an exported one.
        info: What the network says of itself.

    Returns:
        The run; `None` if it is not known or gone, or holds another network by now.

    Raises:
        KrespError: If a `parity.json` beside an exported network is damaged.
    """
    if (network / "config.yaml").is_file():
        return RunFolder.open(network)
    found = source_run(network)
    if found is None:
        return None
    try:
        run = RunFolder.open(found)
    except KrespError:
        return None
    return run if run.model_file.is_file() and sha256(run.model_file) == info.source else None

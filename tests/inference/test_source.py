"""Finding the run of an exported network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kresp3d.inference.source import source_run
from kresp3d.system.errors import KrespError


def test_each_network_in_a_folder_is_of_the_run_that_its_own_row_names(tmp_path):
    rows = [{"artefact": name, "run": f"/runs/{name}", "source": "0"} for name in ("3", "4", "n.tflite")]
    (tmp_path / "parity.json").write_text(json.dumps({"artefacts": rows}))
    for name in ("3", "4", "n.tflite"):
        assert source_run(tmp_path / name) == Path("/runs") / name
    assert source_run(tmp_path / "5") is None and source_run(tmp_path / "3" / "inside") is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"artefacts": [1]}', '{"run": "x", "artefacts": [{"artefact": "1"}]}'],
    ids=["empty", "list", "no rows", "a number", "of a release without a run in each row"],
)
def test_a_damaged_or_older_note_gets_a_sentence(tmp_path, text):
    (tmp_path / "parity.json").write_text(text)
    with pytest.raises(KrespError, match=r"parity\.json is damaged, or of an earlier kresp3d; delete it"):
        source_run(tmp_path / "1")

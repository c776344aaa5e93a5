"""From a path to what runs the network there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from kresp3d.data.pipeline import evaluation_frames
from kresp3d.errors import KrespError, UsageError
from kresp3d.inference.open_engine import open_engine
from kresp3d.run_folder import RunFolder


def test_exported_networks_are_opened_by_their_names(exported_run, trained_run):
    trained = open_engine(trained_run)
    # Of real videos: on noise, which it was not calibrated with, an int8 network says anything.
    run = RunFolder.open(trained_run)
    clips = next(evaluation_frames(run.records("test"), run.records_folder, run.classes, run.config, clips=1))
    expected = trained.probabilities(clips)
    for name in ("1", "", "tiny.xml", "tiny.onnx", "tiny-int8.tflite"):
        path = exported_run / name
        if not path.exists():
            continue
        engine = open_engine(path, threads=1 if path.suffix else None)
        atol = 0.3 if "int8" in name else 1e-4
        np.testing.assert_allclose(engine.probabilities(clips), expected, atol=atol)
        same = engine.info.model_copy(update={"format": "keras", "quantize": "none"})
        assert same == trained.info, path


def test_the_folder_of_versions_gives_the_newest(exported_run, tmp_path):
    copy = Path(shutil.copytree(exported_run / "1", tmp_path / "9"))
    shutil.copytree(copy, tmp_path / "10")
    description = tmp_path / "10" / "assets.extra" / "kresp3d.json"
    description.write_text(description.read_text().replace('"tiny"', '"newest"'))
    assert open_engine(tmp_path).info.name == "newest"


def test_what_is_no_network_and_what_has_no_choice_of_precision_get_a_sentence(exported_run, tmp_path):
    (tmp_path / "x.pt").touch()
    for name in ("x.pt", ""):
        with pytest.raises(KrespError, match=r"neither a run folder .* nor an exported network"):
            open_engine(tmp_path / name)
    with pytest.raises(KrespError, match=r"gone.* does not exist"):
        open_engine(tmp_path / "gone.xml")
    with pytest.raises(UsageError, match="computes as it was exported; --precision is for run folders and OpenVINO"):
        open_engine(exported_run / "1", precision="bfloat16")

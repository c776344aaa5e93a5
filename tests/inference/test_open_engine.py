"""From a path to what runs the network there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kresp3d.inference.open_engine import open_engine
from kresp3d.records.pipeline import evaluation_frames
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError, UsageError


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


@pytest.mark.parametrize("name", ["run", "1", "tiny.xml", "tiny.onnx", "tiny-int8.tflite"])
def test_threads_that_ask_at_once_get_the_answers_that_they_would_get_alone(name, exported_run, trained_run):
    path = trained_run if name == "run" else exported_run / name
    if not path.exists():
        pytest.skip(f"{name} was not exported, as its library is not installed")
    engine = open_engine(path)
    random = np.random.default_rng(0)
    requests = [random.integers(0, 256, (1 + n % 3, *engine.info.clip.shape), np.uint8) for n in range(8)]
    alone = [engine.probabilities(clips) for clips in requests]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(engine.probabilities, requests * 25))
    for number, scores in enumerate(together):
        np.testing.assert_allclose(scores, alone[number % len(requests)], atol=1e-5)


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
    with pytest.raises(UsageError, match=r"computes as it was exported; precision= \(--precision\) is for run"):
        open_engine(exported_run / "1", precision="bfloat16")


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True, 2**31, 5000])
@pytest.mark.parametrize("name", ["run", "1", "tiny.xml", "tiny.onnx", "tiny-int8.tflite"])
def test_impossible_threads_are_refused_by_all_engines(name, threads, exported_run, trained_run):
    path = trained_run if name == "run" else exported_run / name
    if not path.exists():
        pytest.skip(f"{name} was not exported, as its library is not installed")
    with pytest.raises(UsageError, match="threads must be a whole number from 1 to 1024, received "):
        open_engine(path, threads=threads)


@pytest.mark.parametrize("precision", ["float16", "bf16", None, 3, ["float32"]])
def test_unknown_precisions_are_refused(trained_run, precision):
    with pytest.raises(UsageError, match="precision must be float32 or bfloat16, received "):
        open_engine(trained_run, precision=precision)


def test_other_threads_than_tensorflow_has_begun_with_get_a_sentence(trained_run):
    program = """
import sys
import kresp3d
for _ in range(2):
    print(len(kresp3d.load(sys.argv[1], threads=1).labels))
kresp3d.load(sys.argv[1], threads=2)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(trained_run)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr.splitlines()[-1] == (
        "kresp3d.system.errors.UsageError: TensorFlow has begun to compute with other threads in this process; give "
        "threads= to the first load"
    )
    assert done.stdout == "3\n3\n"


def test_a_keras_file_is_told_where_it_is_opened(trained_run, tmp_path):
    with pytest.raises(KrespError, match=rf"keras\.saving\.load_model .*the run folder around it, {trained_run}$"):
        open_engine(trained_run / "model.keras")
    shutil.copy(trained_run / "model.keras", tmp_path / "mine.keras")
    with pytest.raises(KrespError, match=r"mine\.keras is a Keras file, .*`from kresp3d import P3DResNet`"):
        open_engine(tmp_path / "mine.keras")

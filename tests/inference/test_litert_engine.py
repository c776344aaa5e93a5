"""The LiteRT engine: its scores, and the files it refuses."""

from __future__ import annotations

import io
import json
import sys
import zipfile

import numpy as np
import pytest

from kresp3d.inference.keras_engine import KerasEngine, load_network
from kresp3d.inference.litert_engine import LiteRTEngine, pack, read_info
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed (the extra litert)")


@pytest.fixture(scope="module")
def engine(trained_run):
    return KerasEngine(RunFolder.open(trained_run))


@pytest.fixture(scope="module")
def file(trained_run, engine, tmp_path_factory):
    from kresp3d.export.litert import write_litert

    path = tmp_path_factory.mktemp("litert") / "tiny.tflite"
    write_litert(load_network(RunFolder.open(trained_run)), engine.info, path, quantize="none")
    return path


@pytest.mark.parametrize("threads", [None, 1])
def test_scores_are_those_of_the_run_for_batches_of_any_size(engine, file, threads):
    litert = LiteRTEngine(file, threads=threads)
    clips = np.random.default_rng(0).integers(0, 256, (3, 5, 16, 16, 3), np.uint8)
    expected = engine.probabilities(clips)
    np.testing.assert_allclose(litert.probabilities(clips), expected, atol=1e-5)
    np.testing.assert_allclose(litert.probabilities(clips[1:2]), expected[1:2], atol=1e-5)


def test_describes_the_network(engine, file):
    assert LiteRTEngine(file).info == engine.info.model_copy(update={"format": "litert"})


@pytest.mark.parametrize(
    ("frames", "received"),
    [
        (np.zeros((1, 5, 16, 16, 3), np.float32), r"received float32 \[1, 5, 16, 16, 3\]"),
        (np.zeros((2, 4, 16, 16, 3), np.uint8), r"received uint8 \[2, 4, 16, 16, 3\]"),
        (np.zeros((0, 5, 16, 16, 3), np.uint8), r"received uint8 \[0, 5, 16, 16, 3\]"),
    ],
)
def test_refuses_other_frames(file, frames, received):
    with pytest.raises(KrespError, match=received):
        LiteRTEngine(file).probabilities(frames)


@pytest.mark.parametrize("kept", [0, 6, 5000, -1, -200])
def test_refuses_a_file_cut_short(file, tmp_path, kept):
    (tmp_path / "cut.tflite").write_bytes(file.read_bytes()[:kept])
    with pytest.raises(KrespError, match=r"cut\.tflite (is no LiteRT file|carries no description|is damaged)"):
        LiteRTEngine(tmp_path / "cut.tflite")


@pytest.mark.parametrize("where", [0, 20, 3000, 20000])
def test_refuses_a_network_with_a_wrong_byte(file, tmp_path, where):
    data = bytearray(file.read_bytes())
    data[where] ^= 0xFF
    (tmp_path / "wrong.tflite").write_bytes(data)
    with pytest.raises(KrespError, match=r"wrong\.tflite is damaged \(its checksum is wrong\); export the run again"):
        LiteRTEngine(tmp_path / "wrong.tflite")


def test_refuses_what_others_have_written(engine, file, tmp_path):
    data = file.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        plain = data[: min(entry.header_offset for entry in archive.infolist())]
    (tmp_path / "plain.tflite").write_bytes(plain)
    with pytest.raises(KrespError, match="carries no description of a network"):
        LiteRTEngine(tmp_path / "plain.tflite")
    (tmp_path / "text.tflite").write_text("not a network at all")
    with pytest.raises(KrespError, match="is no LiteRT file; expected one written by `kresp3d export`"):
        LiteRTEngine(tmp_path / "text.tflite")
    with pytest.raises(KrespError, match="does not exist; expected a LiteRT file"):
        LiteRTEngine(tmp_path / "none.tflite")


def test_refuses_another_version(engine, tmp_path):
    class Newer:
        labels = engine.info.labels

        def to_text(self):
            return json.dumps({**json.loads(engine.info.to_text()), "version": 3})

    with pytest.raises(KrespError, match="exported by another version of kresp3d"):
        read_info(pack(b"....TFL3", Newer()), tmp_path / "newer.tflite")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip": {"frames": 6}}, r"clips \[7, 16, 16, 3\], 3 classes"),
        ({"labels": ["bend", "jump", "walk", "run"]}, r"clips \[5, 16, 16, 3\], 4 classes"),
    ],
)
def test_a_description_of_another_network_is_refused(engine, file, tmp_path, change, message):
    data = file.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        network = data[: min(entry.header_offset for entry in archive.infolist())]
    info = engine.info.model_copy(update={"format": "litert"})
    clip = info.clip.model_copy(update=change.get("clip", {}))
    other = info.model_copy(update={"clip": clip, "labels": tuple(change.get("labels", info.labels))})
    (tmp_path / "other.tflite").write_bytes(pack(network, other))
    with pytest.raises(KrespError, match=rf"description of another network \({message}\); export the run again"):
        LiteRTEngine(tmp_path / "other.tflite")


def test_refuses_a_network_that_litert_cannot_load(engine, tmp_path):
    (tmp_path / "empty.tflite").write_bytes(pack(b"\0\0\0\0TFL3" + bytes(64), engine.info))
    with pytest.raises(KrespError, match="cannot be loaded by LiteRT"):
        LiteRTEngine(tmp_path / "empty.tflite")


def test_names_the_extra_where_litert_is_missing(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(KrespError, match=r"pip install 'kresp3d\[litert\]'"):
        LiteRTEngine(file)

"""From a run to exported files: the names they get, and when they get none."""

from __future__ import annotations

import hashlib
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from kresp3d.export import export as module
from kresp3d.export.export import export, installed_formats
from kresp3d.export.parity import Tolerance
from kresp3d.inference.bench import Bench, Timing
from kresp3d.inference.keras_engine import KerasEngine
from kresp3d.inference.open_engine import open_engine
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.files import locked


@pytest.fixture
def run(trained_run):
    return RunFolder.open(trained_run)


def rows_of(folder):
    return json.loads((folder / "parity.json").read_text())["artefacts"]


@pytest.fixture
def quick(monkeypatch):
    """Times are not taken: each would start a process."""

    def bench(paths, **_):
        return [Bench(path, "", "none", "float32", 1, None, 1, 2, (Timing(1, (0.5,)),)) for path in paths]

    monkeypatch.setattr(module, "bench", bench)


@pytest.fixture
def only_openvino():
    return pytest.importorskip("openvino", reason="OpenVINO is the quickest format to write") and ["openvino"]


def test_every_format_that_is_installed_says_what_the_network_says(exported_run, run):
    rows = json.loads((exported_run / "parity.json").read_text())["artefacts"]
    digest = hashlib.sha256(run.model_file.read_bytes()).hexdigest()
    origin = {(row["run"], row["source"], row["split"]) for row in rows}
    assert origin == {(str(run.path.resolve()), digest, "test")}
    found = {row["artefact"]: row for row in rows}
    expected = {"saved_model": "1", "litert": "tiny-int8.tflite", "openvino": "tiny.xml", "onnx": "tiny.onnx"}
    assert set(found) == {expected[name] for name in installed_formats()}
    records = run.records("test")
    assert {(row["videos"], row["clips"]) for row in rows} == {(len(records), 2 * len(records))}
    for row in rows:
        assert row["within_tolerance"] and row["size_bytes"] > 1000 and row["latency_s"] > 0
        exact = (row["quantize"], row["precision"]) == ("none", "float32")
        assert row["max_difference"] < (1e-4 if exact else 0.5)
    assert (exported_run / "models.config").is_file() and (exported_run / "batching_parameters.txt").is_file()
    left = {p.name for p in exported_run.iterdir()} - set(found)
    assert left <= {".lock", "models.config", "batching_parameters.txt", "parity.json", "tiny.bin"}


def test_versions_count_up_and_files_are_not_replaced_unasked(run, only_openvino, quick, tmp_path):
    export(run, tmp_path, formats=only_openvino)
    before = (tmp_path / "tiny.xml").stat().st_mtime_ns
    with pytest.raises(KrespError, match=r"tiny\.xml is there already; replace it by --overwrite"):
        export(run, tmp_path, formats=only_openvino)
    assert (tmp_path / "tiny.xml").stat().st_mtime_ns == before
    export(run, tmp_path, formats=only_openvino, overwrite=True)
    assert (tmp_path / "tiny.xml").stat().st_mtime_ns > before
    (tmp_path / "7").mkdir()
    (tmp_path / "9.rejected").mkdir()
    assert module._next_version(tmp_path) == 10
    assert module._next_version(tmp_path / "empty") == 1


def test_a_file_outside_its_tolerance_gets_no_name(run, only_openvino, quick, tmp_path, monkeypatch):
    monkeypatch.setattr("kresp3d.export.parity.TOLERANCES", {"none": Tolerance(difference=-1.0)})
    found = export(run, tmp_path, formats=only_openvino)
    assert not found[0].within and found[0].artefact == "tiny.xml.rejected"
    names = {p.name for p in tmp_path.iterdir()}
    assert {"tiny.xml.rejected", "tiny.bin.rejected"} <= names and not names & {"tiny.xml", "tiny.bin"}
    assert not [name for name in names if name.startswith(".export-")]
    # For whoever wants to know what is wrong with it.
    engine, clips = open_engine(tmp_path / "tiny.xml.rejected"), np.zeros((1, 5, 16, 16, 3), np.uint8)
    np.testing.assert_allclose(engine.probabilities(clips), KerasEngine(run).probabilities(clips), atol=1e-4)


def test_a_rejected_file_leaves_the_good_one_of_that_name_and_what_is_known_of_it(
    run, only_openvino, quick, tmp_path, monkeypatch
):
    export(run, tmp_path, formats=only_openvino)
    before = (tmp_path / "tiny.xml").stat().st_mtime_ns
    monkeypatch.setattr("kresp3d.export.parity.TOLERANCES", {"none": Tolerance(difference=-1.0)})
    export(run, tmp_path, formats=only_openvino, overwrite=True)
    assert (tmp_path / "tiny.xml").stat().st_mtime_ns == before
    within = {(row["artefact"], row["within_tolerance"]) for row in rows_of(tmp_path) if row["precision"] == "float32"}
    assert within == {("tiny.xml", True), ("tiny.xml.rejected", False)}


def test_bfloat16_alone_does_not_reject_a_file_whose_float32_is_right(run, only_openvino, quick, tmp_path, monkeypatch):
    plain = module.compare

    def worse(artefact, engine, precision, scores, *others, **options):
        scores = scores[:, ::-1] if precision == "bfloat16" else scores
        return plain(artefact, engine, precision, scores, *others, **options)

    # As on a processor with bfloat16, computed in float32 where there is none.
    open_float32 = module.open_engine
    monkeypatch.setattr(module, "_precisions", lambda _: ("float32", "bfloat16"))
    monkeypatch.setattr(module, "open_engine", lambda path, precision: open_float32(path))
    monkeypatch.setattr(module, "compare", worse)
    found = export(run, tmp_path, formats=only_openvino)
    assert [(p.artefact, p.precision, p.verdict) for p in found] == [
        ("tiny.xml", "float32", "ok"),
        ("tiny.xml", "bfloat16", "too far"),
    ]
    assert (tmp_path / "tiny.xml").is_file()


def test_what_is_known_of_other_files_is_kept(run, only_openvino, quick, tmp_path):
    (tmp_path / "old.onnx").touch()
    here = {"run": str(run.path.resolve()), "source": "of an earlier training"}
    rows = [{"artefact": name, **here} for name in ("old.onnx", "gone.onnx", "tiny.xml")]
    (tmp_path / "parity.json").write_text(json.dumps({"artefacts": rows}))
    export(run, tmp_path, formats=only_openvino)
    rows = rows_of(tmp_path)
    assert {row["artefact"] for row in rows} == {"old.onnx", "tiny.xml"}
    assert all("format" in row for row in rows if row["artefact"] == "tiny.xml")
    assert [row["source"] for row in rows if row["artefact"] == "old.onnx"] == ["of an earlier training"]


def test_networks_of_two_runs_come_into_one_folder_only_when_asked(run, only_openvino, quick, tmp_path):
    (tmp_path / "1").mkdir()
    rows = [{"artefact": "1", "run": "/runs/other", "source": "0"}]
    (tmp_path / "parity.json").write_text(json.dumps({"artefacts": rows}))
    with pytest.raises(KrespError, match=r"holds 1, made of another run \(/runs/other\); give another --to, or .*--ov"):
        export(run, tmp_path, formats=only_openvino)
    export(run, tmp_path, formats=only_openvino, overwrite=True)
    found = {row["artefact"]: row["run"] for row in rows_of(tmp_path)}
    assert found == {"1": "/runs/other", "tiny.xml": str(run.path.resolve())}


def test_a_failure_leaves_nothing(run, only_openvino, quick, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(KrespError, match=r"cannot export into .*No space left on device; nothing was changed"):
        export(run, tmp_path, formats=only_openvino)
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_a_failure_to_put_files_into_their_places_does_not_say_that_nothing_was_changed(
    run, only_openvino, quick, tmp_path, monkeypatch
):
    def denied(*_):
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(module, "_write_parity", denied)
    with pytest.raises(KrespError, match="Permission denied; some of the new files are in their places already"):
        export(run, tmp_path, formats=only_openvino)


def test_what_is_asked_for_twice_is_written_once(run, only_openvino, quick, tmp_path):
    export(run, tmp_path, formats=only_openvino * 2)
    assert {row["artefact"] for row in rows_of(tmp_path)} == {"tiny.xml"}
    assert module._quantizations(run, ("litert",), ("none", "int8", "none")) == ("none", "int8")


def test_quantisation_without_litert_is_refused(run, tmp_path):
    with pytest.raises(UsageError, match=r"--quantize int8 is for LiteRT files, but onnx is to be written"):
        export(run, tmp_path / "out", formats=["onnx"], quantize=["int8"])
    assert not (tmp_path / "out").exists()


def test_the_3d_baseline_is_not_asked_for_integers_unless_named(run):
    network = run.config.model_copy(update={"model": run.config.model.model_copy(update={"variant": "full3d"})})
    baseline = SimpleNamespace(config=network)
    assert module._quantizations(run, ("litert",), None) == ("none", "float16", "dynamic", "int8")
    assert module._quantizations(baseline, ("litert",), None) == ("none", "float16", "dynamic")
    assert module._quantizations(baseline, ("litert",), ("int8",)) == ("int8",)


def test_a_target_that_cannot_be_is_refused_before_the_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KerasEngine", None)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file is a file, but an export needs a folder; give another one by --to"):
        export(run, tmp_path / "file", formats=["saved_model"])
    with pytest.raises(KrespError, match=r"cannot read a SavedModel from a path with \[ and \] in it"):
        export(run, tmp_path / "model[1]", formats=["saved_model"])
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_run_without_videos_to_compare_on_is_told_which_splits_it_has(run, only_openvino, tmp_path):
    copy = shutil.copytree(run.path, tmp_path / "run")
    catalog = copy / "catalog.csv"
    catalog.write_text(catalog.read_text().replace(",test", ",train"))
    with pytest.raises(KrespError, match=r"no test videos .*set evaluation\.split in .*\(train, validation\)"):
        export(RunFolder.open(copy), tmp_path / "out", formats=only_openvino)


def test_damaged_records_are_not_blamed_on_the_target(run, only_openvino, quick, tmp_path):
    copy = shutil.copytree(run.path, tmp_path / "run")
    records = shutil.copytree(run.records_folder, tmp_path / "records")
    for shard in records.glob("*.tfrecord"):
        content = bytearray(shard.read_bytes())
        content[len(content) // 3 :: 2000] = bytes(len(content[len(content) // 3 :: 2000]))
        shard.write_bytes(content)
    environment = json.loads((copy / "environment.json").read_text()) | {"records": str(records)}
    (copy / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(KrespError, match=r"records/.*tfrecord is damaged at byte .* prepare --overwrite`"):
        export(RunFolder.open(copy), tmp_path / "out", formats=only_openvino)


def test_too_few_different_clips_to_measure_integers_on_are_refused(run, quick, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed (the extra litert)")
    copy = shutil.copytree(run.path, tmp_path / "run")
    text = (copy / "catalog.csv").read_text()
    for line in [line for line in text.splitlines() if line.endswith(",train")][1:]:
        text = text.replace(f"{line}\n", "")
    (copy / "catalog.csv").write_text(text)
    # One video of 16 frames has 12 places where a clip of 5 may start, however many are asked for.
    with pytest.raises(KrespError, match=r"at least 50 different clips .* received 12; .*--quantize none"):
        export(RunFolder.open(copy), tmp_path / "out", formats=["litert"], quantize=["int8"])


def test_what_a_killed_export_left_is_cleared_and_a_running_one_is_not_disturbed(run, only_openvino, quick, tmp_path):
    (tmp_path / ".export-abc").mkdir()
    (tmp_path / ".export-abc" / "tiny.xml").touch()
    (tmp_path / ".part-12-parity.json").touch()
    with locked(tmp_path, "exporting"), pytest.raises(KrespError, match="another process is exporting into"):
        export(run, tmp_path, formats=only_openvino)
    assert (tmp_path / ".export-abc").is_dir()
    export(run, tmp_path, formats=only_openvino)
    assert not (tmp_path / ".export-abc").exists() and not list(tmp_path.glob(".part-*"))


def test_a_missing_package_names_the_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(module.PACKAGES, "onnx", ("no_such_package",))
    assert "onnx" not in installed_formats()
    with pytest.raises(KrespError, match=r"onnx needs no_such_package.*pip install 'kresp3d\[onnx\]'"):
        export(run, tmp_path, formats=["onnx"])


def test_a_run_without_a_network_is_refused_before_anything_is_made(run, tmp_path):
    copy = shutil.copytree(run.path, tmp_path / "run")
    (copy / "model.keras").unlink()
    with pytest.raises(KrespError, match="no trained network yet"):
        export(RunFolder.open(copy), tmp_path / "out", formats=["saved_model"])
    assert not (tmp_path / "out").exists()

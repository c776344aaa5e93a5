"""`kresp3d export`, and the commands that take what it makes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from kresp3d.cli.main import main


@pytest.fixture
def videos(trained_run):
    """The folder of the videos that the run was trained on."""
    return Path(yaml.safe_load((trained_run / "config.yaml").read_text())["data"]["videos"])


def artefacts(folder):
    return [folder / row["artefact"] for row in json.loads((folder / "parity.json").read_text())["artefacts"]]


def test_predict_gives_the_same_scores_with_every_format(exported_run, trained_run, videos, tmp_path):
    def predicted(network):
        assert main(["predict", str(network), str(videos / "jump"), "--json", str(tmp_path / "s.json")]) == 0
        rows = json.loads((tmp_path / "s.json").read_text())
        return [{entry["class"]: entry["score"] for entry in row["top"]} for row in rows]

    expected = predicted(trained_run)
    for path in artefacts(exported_run):
        tolerance = 0.3 if "int8" in path.name else 1e-4
        for found, right in zip(predicted(path), expected, strict=True):
            assert found == pytest.approx(right, abs=tolerance), path


def test_evaluate_takes_an_exported_file_and_leaves_the_run_alone(exported_run, trained_run, tmp_path):
    folder = shutil.copytree(exported_run, tmp_path / "exported")
    before = {p: p.stat().st_mtime_ns for p in trained_run.rglob("*")}
    figures = tmp_path / "figures.json"
    assert main(["evaluate", str(folder / "1"), "--json", str(figures)]) == 0
    measured, own = json.loads(figures.read_text()), json.loads((trained_run / "metrics.json").read_text())
    assert measured == own
    assert (folder / "1-evaluation-test" / "report.md").is_file()
    assert {p: p.stat().st_mtime_ns for p in trained_run.rglob("*")} == before


def test_a_report_on_another_runs_videos_stands_beside_the_own(exported_run, trained_run, tmp_path):
    folder, other = shutil.copytree(exported_run, tmp_path / "exported"), shutil.copytree(trained_run, tmp_path / "b")
    assert main(["evaluate", str(folder / "1")]) == 0
    before = (folder / "1-evaluation-test" / "report.md").stat().st_mtime_ns
    assert main(["evaluate", str(folder / "1"), "--run", str(other)]) == 0
    assert (folder / "1-evaluation-test" / "report.md").stat().st_mtime_ns == before
    assert (folder / "1-evaluation-test-on-b" / "report.md").is_file()


def test_a_report_is_named_by_the_version_however_the_network_is_given(exported_run, tmp_path, monkeypatch):
    folder = shutil.copytree(exported_run, tmp_path / "exported")
    for place, network, clips in ((folder / "1", ".", "1"), (folder, ".", "2"), (tmp_path, "exported", "3")):
        monkeypatch.chdir(place)
        assert main(["evaluate", network, "--clips", clips]) == 0
    assert {p.name for p in (folder / "1").iterdir()} == {p.name for p in (exported_run / "1").iterdir()}
    assert {p.name for p in folder.glob("*evaluation*")} == {
        "1-evaluation-test-1-clips",
        "1-evaluation-test",
        "1-evaluation-test-3-clips",
    }
    assert not list(tmp_path.glob("*evaluation*"))


def test_evaluate_says_what_is_missing(exported_run, trained_run, tmp_path, capsys):
    alone = shutil.copytree(exported_run / "1", tmp_path / "1")
    capsys.readouterr()
    assert main(["evaluate", str(alone)]) == 2
    assert "does not say which run it was made of" in capsys.readouterr().err

    def made_of(run):
        row = {"artefact": "1", "run": str(run), "source": ""}
        (tmp_path / "parity.json").write_text(json.dumps({"artefacts": [row]}))

    made_of(tmp_path / "gone")
    assert main(["evaluate", str(alone)]) == 2
    assert "which is gone; name a run whose videos to use by --run" in capsys.readouterr().err
    again = shutil.copytree(trained_run, tmp_path / "again")
    (again / "model.keras").write_bytes(b"of another training")
    made_of(again)
    assert main(["evaluate", str(alone)]) == 2
    assert "again no longer holds, as after a new training; name the run" in capsys.readouterr().err
    assert main(["evaluate", str(alone), "--run", str(trained_run), "--clips", "1"]) == 0


def test_bench_prints_a_table_and_writes_json(exported_run, tmp_path, capsys):
    paths = [str(path) for path in artefacts(exported_run) if path.suffix in (".xml", ".tflite")]
    if not paths:
        pytest.skip("neither OpenVINO nor LiteRT is installed")
    arguments = ["bench", *paths, "--batch", "1", "--batch", "2", "--threads", "1", "--seconds", "0.1"]
    assert main([*arguments, "--json", str(tmp_path / "bench.json")]) == 0
    rows = json.loads((tmp_path / "bench.json").read_text())
    assert [row["path"] for row in rows] == paths
    assert all([t["batch"] for t in row["timings"]] == [1, 2] for row in rows)
    assert "clips/s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "tensorrt"], "'tensorrt' is not one of"),
        (["--format", "litert", "--quantize", "int4"], "'int4' is not one of"),
        (["--videos", "0"], "0 is not in the range"),
        (["--format", "saved_model", "--quantize", "int8"], "--quantize int8 is for LiteRT files"),
        (["--to", __file__], "test_export.py is a file"),
    ],
)
def test_a_wrong_format_name_is_bad_usage(trained_run, arguments, words, capsys):
    assert main(["export", str(trained_run), *arguments]) == 2
    assert words in capsys.readouterr().err

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kresp3d.api import doctor
from kresp3d.api.doctor import Check
from kresp3d.cli.doctor import command

GOOD = Check("machine", "CPU", "ok", "2 cores")
POOR = Check("machine", "Disk", "warn", "1.0 GiB free in /somewhere/with/a/long/name/that/must/be/folded", "free " * 20)
BAD = Check("video", "PyAV", "fail", "ImportError: no av", "pip install --force-reinstall av")


def invoke(checks: list[Check], monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    monkeypatch.setattr(doctor, "run_checks", lambda folder: checks)
    return CliRunner(env={"COLUMNS": "80"}).invoke(command, list(words), catch_exceptions=False)


@pytest.mark.parametrize(
    ("checks", "code", "closing"),
    [
        ([GOOD], 0, "Everything works."),
        ([GOOD, POOR], 0, "Everything necessary works."),
        ([GOOD, POOR, BAD], 1, "Something necessary does not work"),
    ],
)
def test_only_a_necessary_failure_sets_the_exit_code(
    checks: list[Check], code: int, closing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = invoke(checks, monkeypatch)
    assert done.exit_code == code
    assert done.output.rstrip().splitlines()[-1].startswith(closing)


def test_the_table_fits_80_columns_and_keeps_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    output = invoke([GOOD, POOR, BAD], monkeypatch).output
    assert max(map(len, output.splitlines())) <= 80
    for check in (GOOD, POOR, BAD):
        assert check.name in output
    assert output.count("free") == 21
    assert "FAIL" in output


def test_json_holds_every_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = invoke([GOOD, BAD], monkeypatch, "--json", str(tmp_path / "checks.json"))
    assert done.exit_code == 1 and GOOD.name in done.output
    assert json.loads((tmp_path / "checks.json").read_text()) == {
        "status": "fail",
        "checks": [dataclasses.asdict(GOOD), dataclasses.asdict(BAD)],
    }


def test_this_machine_works_and_tensorflow_is_silent(tmp_path: Path) -> None:
    quiet = {k: v for k, v in os.environ.items() if k not in {"TF_CPP_MIN_LOG_LEVEL", "COVERAGE_PROCESS_START"}}
    done = subprocess.run(
        [sys.executable, "-m", "kresp3d.cli.main", "doctor", "--json", "checks.json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**quiet, "PYTHONPATH": str(Path(doctor.__file__).parents[2])},
    )
    assert done.stderr == ""
    assert done.returncode == 0, done.stdout
    checks = {check["name"]: check for check in json.loads((tmp_path / "checks.json").read_text())["checks"]}
    assert {"Python", "CPU", "TensorFlow", "Keras", "PyAV", "Decoders", "H.264 file", "tensorflow-io"} <= set(checks)
    assert checks["Decoders"]["found"].startswith("h264, mpeg4")

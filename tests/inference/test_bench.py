"""Timing networks in processes of their own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kresp3d.inference.bench import ROUNDS, Bench, Timing, bench, bench_table, size_on_disk
from kresp3d.system.errors import KrespError, UsageError


def test_a_network_is_timed_at_every_batch_size(trained_run):
    calls = []
    [found] = bench([trained_run], batches=(1, 3), threads=1, seconds=0.05, progress=lambda *c: calls.append(c))
    assert (found.format, found.quantize, found.precision, found.threads) == ("keras", "none", "float32", 1)
    assert found.size == (trained_run / "model.keras").stat().st_size
    # TensorFlow alone takes more than 100 MB; this process, which may hold far more, does not count.
    assert found.peak_memory is None or 1e8 < found.peak_memory < 3e9
    assert [timing.batch for timing in found.timings] == [1, 3]
    for timing in found.timings:
        assert len(timing.seconds) >= ROUNDS and 0 < timing.median <= timing.p90
    assert calls[-1] == (2 * ROUNDS, 2 * ROUNDS)


def test_median_percentile_and_rate_by_hand():
    timing = Timing(8, (0.4, 0.1, 0.2, 0.3, 0.5))
    assert timing.median == 0.3 and timing.clips_per_second == pytest.approx(8 / 0.3)
    assert timing.p90 == pytest.approx(np.percentile(timing.seconds, 90))


def test_what_cannot_be_loaded_is_named(tmp_path):
    (tmp_path / "x.tar").touch()
    with pytest.raises(KrespError, match=r"x\.tar is neither a run folder"):
        bench([tmp_path / "x.tar"])


def test_the_size_counts_what_belongs_to_a_network(tmp_path):
    files = {"a.xml": 10, "a.bin": 20, "a.onnx": 5, "b.xml.rejected": 100, "b.bin.rejected": 200}
    files |= {"1/saved_model.pb": 3, "1/variables/v": 4, "2/saved_model.pb": 30, "2/assets.extra/k": 40}
    files |= {"run/config.yaml": 1, "run/model.keras": 50, "run/checkpoints/c": 1000}
    for name, size in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    found = [size_on_disk(tmp_path / name) for name in ("a.xml", "a.onnx", "b.xml.rejected", "1", "run")]
    assert found == [30, 5, 300, 7, 50]
    # Of all versions and their neighbours only the newest is opened.
    assert size_on_disk(tmp_path) == 70


def test_more_threads_than_cores_are_refused(trained_run):
    with pytest.raises(UsageError, match=r"--threads 4000 is more than the \d+ cores that this process may use"):
        bench([trained_run], threads=4000)


def test_a_script_needs_no_guard(trained_run, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom kresp3d.inference.bench import bench\n"
        f"print(len(bench([Path({str(trained_run)!r})], batches=[1], seconds=0.1)))\n"
    )
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (found.returncode, found.stdout) == (0, "1\n"), found.stderr


def test_the_table_and_the_json_have_every_batch_size(tmp_path):
    row = Bench(
        path=tmp_path / "[n].xml",
        format="openvino",
        quantize="none",
        precision="bfloat16",
        threads=13,
        cpu="A processor",
        size=1_234_567,
        peak_memory=3 * 10**8,
        timings=(Timing(1, (0.01,)), Timing(8, (0.04,))),
    )
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(bench_table([row]))
    text = console.export_text()
    for part in (
        "[n].xml",
        "in bfloat16, ",
        "; 13 threads of A processor",
        " 1.2 ",
        " 300",
        " 10.0 ",
        " 40.0 ",
        " 100.0 ",
        " 200.0 ",
    ):
        assert part in text
    values = json.loads(json.dumps(row.to_json()))
    assert [t["clips_per_second"] for t in values["timings"]] == pytest.approx([100, 200])
    assert (values["precision"], values["threads"], values["cpu"]) == ("bfloat16", 13, "A processor")
    assert values["path"].endswith("[n].xml") and values["peak_memory"] == 3 * 10**8

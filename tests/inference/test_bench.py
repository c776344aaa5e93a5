"""Timing networks in processes of their own."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from kresp3d.errors import KrespError
from kresp3d.inference.bench import ROUNDS, Bench, Timing, bench, bench_table, size_on_disk


def test_a_network_is_timed_at_every_batch_size(trained_run):
    calls = []
    [found] = bench([trained_run], batches=(1, 3), threads=1, seconds=0.05, progress=lambda *c: calls.append(c))
    assert (found.format, found.quantize) == ("keras", "none")
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
    for name, size in (("a.xml", 10), ("a.bin", 20), ("a.onnx", 5), ("1/saved_model.pb", 3), ("1/variables/v", 4)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    found = [size_on_disk(tmp_path / name) for name in ("a.xml", "a.onnx", "1")]
    assert found == [30, 5, 7]


def test_the_table_and_the_json_have_every_batch_size(tmp_path):
    row = Bench(
        tmp_path / "[n].xml", "openvino", "none", 1_234_567, 3 * 10**8, (Timing(1, (0.01,)), Timing(8, (0.04,)))
    )
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(bench_table([row]))
    text = console.export_text()
    for part in ("[n].xml", " 1.2 ", " 300", " 10.0 ", " 40.0 ", " 100.0 ", " 200.0 "):
        assert part in text
    values = json.loads(json.dumps(row.to_json()))
    assert [t["clips_per_second"] for t in values["timings"]] == pytest.approx([100, 200])
    assert values["path"].endswith("[n].xml") and values["peak_memory"] == 3 * 10**8

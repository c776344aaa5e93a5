from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from kresp3d.api import compression_report as report
from kresp3d.api.compression_report import Size
from kresp3d.config.schema import Config
from kresp3d.export import litert
from kresp3d.nn import P3DResNet
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError


def network():
    keras.utils.set_random_seed(0)
    return P3DResNet(classes=3, frames=4, size=16, width=4, blocks=(1, 1), fc1=16)


def test_weights_zeros_and_values_are_counted(monkeypatch):
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    model = network()
    before = Size.of(model)
    assert before.zeros == 0 and (before.litert, before.litert_gzip) == (None, None)
    fc1 = model.get_layer("fc1").kernel
    fc1.assign(np.where(np.arange(fc1.shape[1]) % 4 == 0, 0.0, 0.5) * np.ones(fc1.shape))
    after = Size.of(model)
    weights = int(np.prod(fc1.shape))
    assert after.zeros == after.layers["fc1"]["zeros"] == weights // 4
    assert after.layers["fc1"] == {"weights": weights, "zeros": weights // 4, "values": 2}
    assert after.float32 == before.float32 and after.gzip < before.gzip
    assert after.weights == before.weights == sum(layer["weights"] for layer in after.layers.values())


def test_the_litert_file_is_of_the_network_that_computes_scores():
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed; pip install kresp3d[litert]")
    size = Size.of(network())
    # Its description of the operations comes to the weights.
    assert size.float32 < size.litert < size.float32 + 100_000 and size.litert_gzip < size.litert


def test_without_a_litert_file_the_rest_is_measured(monkeypatch, caplog):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed; pip install kresp3d[litert]")

    def fail(*arguments):
        raise KrespError("this network cannot be converted")

    monkeypatch.setattr(litert, "convert", fail)
    size = Size.of(network())
    assert size.litert is None and size.weights
    assert "this network cannot be converted" in caplog.text


@pytest.mark.parametrize("content", [None, "{", "[]", json.dumps({"source": "a", "before": {"weights": 1}})])
def test_without_what_it_was_before_nothing_is_compared(tmp_path, content):
    run = RunFolder.create(tmp_path / "run", Config())
    if content is not None:
        run.compression_file.write_text(content)
    with pytest.raises(KrespError, match="is gone or damaged, so that there is nothing"):
        report.report(run)

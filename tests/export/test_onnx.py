"""The file that ONNX runtimes read."""

from __future__ import annotations

import json
import sys

import keras
import numpy as np
import pytest

from kresp3d.export.onnx import write_onnx
from kresp3d.inference.keras_engine import load_network, network_info
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError

for _package in ("onnx", "onnxruntime", "tf2onnx"):
    pytest.importorskip(_package, reason="needs the extra 'onnx'")

LABELS = ('say "hi"', "größer", "走る")


@pytest.fixture(scope="module")
def written(trained_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    run = RunFolder.open(trained_run)
    write_onnx(load_network(run), network_info(run).model_copy(update={"labels": LABELS}), path)
    return path


@pytest.fixture(scope="module")
def network(written):
    import onnx

    return onnx.load(written)


def described(tensor) -> tuple:
    type_ = tensor.type.tensor_type
    return tensor.name, type_.elem_type, [dim.dim_param or dim.dim_value for dim in type_.shape.dim]


def test_takes_uint8_frames_and_gives_float32_probabilities_for_any_batch(network):
    import onnx

    assert [described(t) for t in network.graph.input] == [("frames", onnx.TensorProto.UINT8, ["batch", 5, 16, 16, 3])]
    assert [described(t) for t in network.graph.output] == [("probabilities", onnx.TensorProto.FLOAT, ["batch", 3])]


def test_is_valid_and_has_standard_operators_alone(network):
    import onnx

    onnx.checker.check_model(network, full_check=True)
    assert {node.domain for node in network.graph.node} <= {"", "ai.onnx"}


def test_plain_onnx_runtime_computes_the_scores_of_the_trained_network(written, trained_run):
    import onnxruntime

    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    trained = keras.models.load_model(trained_run / "model.keras")
    for batch in (1, 3):
        frames = np.random.default_rng(batch).integers(0, 256, (batch, 5, 16, 16, 3), np.uint8)
        logits = np.asarray(trained({"frames": frames}), np.float64)
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(session.run(None, {"frames": frames})[0], expected, atol=1e-5)


def test_weights_are_float32(network):
    import onnx

    names = {onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in network.graph.initializer}
    assert names <= {"FLOAT", "INT64", "INT32"}
    assert "FLOAT" in names


def test_the_metadata_carries_the_description(network):
    (text,) = [p.value for p in network.metadata_props if p.key == "kresp3d"]
    info = json.loads(text)
    assert (info["format"], info["quantize"], tuple(info["labels"])) == ("onnx", "none", LABELS)


def test_writes_one_file_and_not_a_word(trained_run, tmp_path, capfd):
    run = RunFolder.open(trained_run)
    trained, info = load_network(run), network_info(run)
    capfd.readouterr()
    write_onnx(trained, info, tmp_path / "tiny.onnx")
    assert capfd.readouterr() == ("", "")
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.onnx"]


def test_a_full_disk_is_an_operating_system_error(trained_run, tmp_path):
    run = RunFolder.open(trained_run)
    (tmp_path / "tiny.onnx").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_onnx(load_network(run), network_info(run), tmp_path / "tiny.onnx")


@pytest.mark.parametrize("package", ["onnx", "tf2onnx"])
def test_without_a_package_the_extra_is_named(monkeypatch, trained_run, tmp_path, package):
    monkeypatch.setitem(sys.modules, package, None)
    run = RunFolder.open(trained_run)
    with pytest.raises(KrespError, match=rf"ONNX cannot be written .*{package}.*pip install 'kresp3d\[onnx\]'"):
        write_onnx(load_network(run), network_info(run), tmp_path / "tiny.onnx")

"""The files that OpenVINO reads."""

from __future__ import annotations

import hashlib
import json
import sys

import keras
import numpy as np
import pytest

from kresp3d.export.openvino import write_openvino
from kresp3d.inference.keras_engine import load_network, network_info
from kresp3d.inference.openvino_engine import load_openvino
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError

pytest.importorskip("openvino", reason="needs the extra 'openvino'")

#: Signs that mean something in XML, and some that are not ASCII.
LABELS = ('say "hi" & <wave>', "größer", "走る\t")


@pytest.fixture(scope="module")
def written(trained_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("openvino") / "tiny.xml"
    run = RunFolder.open(trained_run)
    write_openvino(load_network(run), network_info(run).model_copy(update={"labels": LABELS}), path)
    return path


@pytest.fixture(scope="module")
def network(written):
    return load_openvino().Core().read_model(written)


def test_takes_uint8_frames_and_gives_float32_probabilities_for_any_batch(network):
    assert [(sorted(i.names), str(i.partial_shape), i.element_type.to_string()) for i in network.inputs] == [
        (["frames"], "[?,5,16,16,3]", "u8")
    ]
    assert [(sorted(o.names), str(o.partial_shape), o.element_type.to_string()) for o in network.outputs] == [
        (["probabilities"], "[?,3]", "f32")
    ]


def test_plain_openvino_computes_the_scores_of_the_trained_network(written, trained_run):
    openvino = load_openvino()
    compiled = openvino.Core().compile_model(written, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    trained = keras.models.load_model(trained_run / "model.keras")
    for batch in (1, 3):
        frames = np.random.default_rng(batch).integers(0, 256, (batch, 5, 16, 16, 3), np.uint8)
        logits = np.asarray(trained({"frames": frames}), np.float64)
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(compiled({"frames": frames})["probabilities"], expected, atol=1e-5)


def test_weights_are_float32(network):
    constants = [op for op in network.get_ops() if op.get_type_name() == "Constant" and op.get_element_type().is_real()]
    assert constants
    assert {op.get_element_type().to_string() for op in constants} == {"f32"}


def test_the_xml_carries_the_description_and_the_digest_of_the_weights(network, written):
    info = json.loads(network.get_rt_info(["kresp3d", "network"]).astype(str))
    assert (info["format"], info["quantize"], tuple(info["labels"])) == ("openvino", "none", LABELS)
    digest = hashlib.sha256(written.with_suffix(".bin").read_bytes()).hexdigest()
    assert network.get_rt_info(["kresp3d", "weights_sha256"]).astype(str) == digest


def test_writes_two_files_and_not_a_word(trained_run, tmp_path, capfd):
    run = RunFolder.open(trained_run)
    trained, info = load_network(run), network_info(run)
    capfd.readouterr()
    write_openvino(trained, info, tmp_path / "tiny.xml")
    assert capfd.readouterr() == ("", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.bin", "tiny.xml"]


def test_a_full_disk_is_an_operating_system_error(trained_run, tmp_path):
    run = RunFolder.open(trained_run)
    (tmp_path / "tiny.bin").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"could not write .*tiny.xml whole; is the disk full"):
        write_openvino(load_network(run), network_info(run), tmp_path / "tiny.xml")


def test_without_openvino_the_extra_is_named(monkeypatch, trained_run, tmp_path):
    monkeypatch.setitem(sys.modules, "openvino", None)
    run = RunFolder.open(trained_run)
    with pytest.raises(KrespError, match=r"pip install 'kresp3d\[openvino\]'"):
        write_openvino(load_network(run), network_info(run), tmp_path / "tiny.xml")

"""Scores by ONNX Runtime."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

from kresp3d.export.onnx import write_onnx
from kresp3d.inference.keras_engine import KerasEngine, load_network
from kresp3d.inference.onnx_engine import DIGEST_KEY, INFO_KEY, NO_DIGEST, ONNXEngine, sign
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError

for _package in ("onnx", "onnxruntime", "tf2onnx"):
    pytest.importorskip(_package, reason="needs the extra 'onnx'")


@pytest.fixture(scope="module")
def reference(trained_run):
    return KerasEngine(RunFolder.open(trained_run))


@pytest.fixture(scope="module")
def written(trained_run, reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    write_onnx(load_network(RunFolder.open(trained_run)), reference.info, path)
    return path


@pytest.fixture
def copied(written, tmp_path):
    return shutil.copy(written, tmp_path / "tiny.onnx")


def clips(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, 5, 16, 16, 3), np.uint8)


def test_scores_are_those_of_keras_for_batches_of_any_size(written, reference):
    engine = ONNXEngine(written)
    for batch in (1, 3, 8):
        found = engine.probabilities(clips(batch))
        assert (found.shape, found.dtype) == ((batch, 3), np.float32)
        np.testing.assert_allclose(found, reference.probabilities(clips(batch)), atol=1e-5)


def test_tells_what_the_network_was_exported_as(written, reference):
    assert ONNXEngine(written).info == reference.info.model_copy(update={"format": "onnx"})


def test_runs_on_the_cpu_with_as_many_threads_as_asked(written):
    session = ONNXEngine(written, threads=1)._session
    assert session.get_session_options().intra_op_num_threads == 1
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_takes_frames_that_are_not_in_one_piece_or_cannot_be_written(written):
    engine = ONNXEngine(written)
    frames = clips(4)
    frames.flags.writeable = False
    mirrored = frames[:, :, :, ::-1]
    np.testing.assert_array_equal(engine.probabilities(mirrored), engine.probabilities(mirrored.copy()))


def test_says_nothing_on_the_terminal(written, capfd):
    ONNXEngine(written).probabilities(clips(1))
    assert capfd.readouterr() == ("", "")


def change_description(path, old, new):
    """Change what a file says of itself, and let it note the checksum of what it is then."""
    import onnx

    network = onnx.load(path)
    text = {entry.key: entry.value for entry in network.metadata_props}[INFO_KEY]
    assert old in text
    onnx.helper.set_model_props(network, {INFO_KEY: text.replace(old, new), DIGEST_KEY: NO_DIGEST})
    path.write_bytes(sign(network.SerializeToString()))


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.unlink(), "tiny.onnx does not exist"),
        (halve, "tiny.onnx cannot be loaded by ONNX Runtime .*; export the run again"),
        (lambda path: path.write_bytes(b""), "tiny.onnx "),
        (lambda path: path.write_text("no network at all"), "tiny.onnx cannot be loaded by ONNX Runtime"),
        (
            lambda path: change_description(path, '"version": 2', '"version": 9'),
            "exported by another version",
        ),
    ],
    ids=["missing", "half", "empty", "text", "version"],
)
def test_a_damaged_export_is_refused_in_one_sentence(copied, capfd, harm, message):
    harm(copied)
    with pytest.raises(KrespError, match=message) as caught:
        ONNXEngine(copied)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_single_flipped_bit_anywhere_is_noticed(copied, capfd):
    whole = copied.read_bytes()
    random = np.random.default_rng(0)
    # Everywhere, and in each byte of the metadata at the end, where the checksum is.
    for place in (*random.integers(0, len(whole), 40), *range(len(whole) - 100, len(whole))):
        copied.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << int(random.integers(8))]) + whole[place + 1 :])
        with pytest.raises(KrespError, match=r"tiny\.onnx "):
            ONNXEngine(copied)
    assert capfd.readouterr() == ("", "")


def test_flipped_bits_of_the_weights_which_any_runtime_takes_are_named_as_damage(copied):
    import onnx

    network = onnx.load(copied)
    weights = max(network.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = bytes([weights.raw_data[0] ^ 1]) + weights.raw_data[1:]
    onnx.save(network, copied)
    with pytest.raises(KrespError, match=r"is damaged, or was changed \(its checksum is wrong\); export the run again"):
        ONNXEngine(copied)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [('"frames": 4', '"frames": 6', r"clips \[7, 16, 16, 3\], 3 classes"), ('"bend",', '"bend", "clap",', "4 classes")],
)
def test_a_description_of_another_network_is_refused(copied, old, new, message):
    change_description(copied, old, new)
    with pytest.raises(KrespError, match=rf"description of another network \(.*{message}\); export the run again"):
        ONNXEngine(copied)


def test_a_network_of_another_program_is_refused(tmp_path):
    from onnx import TensorProto, helper, save

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), tmp_path / "relu.onnx")
    with pytest.raises(KrespError, match=r"relu.onnx is an ONNX network, but was not written by `kresp3d export`"):
        ONNXEngine(tmp_path / "relu.onnx")


def test_without_onnx_runtime_the_extra_is_named(monkeypatch, written):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(KrespError, match=r"ONNX Runtime cannot be loaded .*pip install 'kresp3d\[onnx\]'"):
        ONNXEngine(written)

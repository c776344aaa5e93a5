"""LiteRT files: what they compute, what they need, and what they carry along."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.config.schema import Config
from kresp3d.export.litert import MIN_CALIBRATION_CLIPS, check_operators, convert, write_litert
from kresp3d.inference.keras_engine import KerasEngine, load_network
from kresp3d.inference.litert_engine import LiteRTEngine
from kresp3d.nn import P3DResNet
from kresp3d.records.pipeline import evaluation_dataset
from kresp3d.runs.network_info import QUANTIZE, NetworkInfo
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed (the extra litert)")


@pytest.fixture(scope="module")
def run(trained_run):
    return RunFolder.open(trained_run)


@pytest.fixture(scope="module")
def engine(run):
    return KerasEngine(run)


def clips_of(run, split, clips):
    records = run.records(split)
    dataset = evaluation_dataset(records, run.records_folder, run.classes, run.config, clips=clips)
    return [batch["frames"] for batch, _ in dataset.as_numpy_iterator()]


@pytest.fixture(scope="module")
def files(run, engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("litert")
    trained, calibration = load_network(run), clips_of(run, "train", 4)
    for quantize in QUANTIZE:
        # An iterator, which can be read once.
        write_litert(
            trained, engine.info, folder / f"{quantize}.tflite", quantize=quantize, calibration=iter(calibration)
        )
    return {quantize: folder / f"{quantize}.tflite" for quantize in QUANTIZE}


def interpreter(model):
    from ai_edge_litert.interpreter import Interpreter

    found = Interpreter(**({"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}))
    found.allocate_tensors()
    return found


def operators(path):
    """Names of all operators and whether each is builtin, read with TensorFlow's schema rather than LiteRT's."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    model = schema.Model.GetRootAsModel(path.read_bytes(), 0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    assert model.SubgraphsLength() == 1
    return {names[max(c.BuiltinCode(), c.DeprecatedBuiltinCode())]: c.CustomCode() is None for c in codes}


@pytest.mark.parametrize(
    ("quantize", "tolerance"), [("none", 1e-5), ("float16", 5e-3), ("dynamic", 0.03), ("int8", 0.02)]
)
def test_scores_are_those_of_the_run(files, run, engine, quantize, tolerance):
    clips = np.concatenate(clips_of(run, "test", 2))
    expected, found = engine.probabilities(clips), LiteRTEngine(files[quantize]).probabilities(clips)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("quantize", QUANTIZE)
def test_only_builtin_operators_are_needed(files, quantize):
    found = operators(files[quantize])
    assert all(found.values()) and "CUSTOM" not in found
    assert {"CONV_2D", "SOFTMAX"} <= set(found)
    assert not {"CONV_3D", "ABS", "SPLIT_V"} & set(found)


@pytest.mark.parametrize("quantize", QUANTIZE)
def test_takes_uint8_frames_and_gives_float32_probabilities_at_static_shapes(files, quantize):
    [frames], [scores] = (
        interpreter(files[quantize]).get_input_details(),
        interpreter(files[quantize]).get_output_details(),
    )
    assert frames["dtype"] == np.uint8 and list(frames["shape_signature"]) == [1, 5, 16, 16, 3]
    assert scores["dtype"] == np.float32 and list(scores["shape_signature"]) == [1, 3]


def test_int8_has_no_float_but_its_output(files):
    network = interpreter(files["int8"])
    floats = {detail["index"] for detail in network.get_tensor_details() if detail["dtype"] == np.float32}
    assert floats == {network.get_output_details()[0]["index"]}
    # Weights are quantised channel by channel.
    kernels = [d for d in network.get_tensor_details() if d["dtype"] == np.int8 and len(d["shape"]) == 4]
    assert any(len(d["quantization_parameters"]["scales"]) > 1 for d in kernels)


def test_int8_spends_all_steps_of_a_difference_on_its_size(files):
    differences = [
        detail
        for detail in interpreter(files["int8"]).get_tensor_details()
        if "residual_frames" in detail["name"] and detail["name"].split("/")[-1].startswith(("sub", "add"))
    ]
    assert differences
    # The lowest of the 256 integers stands for 0, so that none stands for a negative number.
    assert {detail["quantization"][1] for detail in differences} == {-128}


def test_the_integers_that_int8_takes_are_the_frames_values_though_no_clip_is_as_bright(files, run):
    assert np.concatenate(clips_of(run, "train", 4)).max() < 255
    assert interpreter(files["int8"]).get_input_details()[0]["quantization"] == (1.0, 0)


@pytest.mark.parametrize("quantize", QUANTIZE)
def test_carries_its_description_and_loads_from_a_path_and_from_memory(files, engine, quantize):
    path = files[quantize]
    expected = engine.info.model_copy(update={"format": "litert", "quantize": quantize})
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt") == b"bend\njump\nwalk\n"
        info = NetworkInfo.from_text(archive.read("kresp3d.json"), path)
    assert info == expected
    assert (info.clip.frames, info.clip.step, info.clip.size, info.clip.fps) == (4, 1, 16, 15)
    for model in (path, path.read_bytes()):
        assert list(interpreter(model).get_signature_list()) == ["serving_default"]


def test_unzip_reads_the_labels(files):
    try:
        done = subprocess.run(["unzip", "-p", files["none"], "labels.txt"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("unzip is not installed")
    # unzip's 1 is a warning: there are bytes before the archive.
    assert done.returncode in (0, 1) and done.stdout == b"bend\njump\nwalk\n"


@pytest.mark.parametrize("batches", [None, [], [np.zeros((MIN_CALIBRATION_CLIPS - 1, 5, 16, 16, 3), np.uint8)]])
def test_refuses_too_few_clips_for_int8(run, engine, tmp_path, batches):
    count = len(batches[0]) if batches else 0
    with pytest.raises(
        KrespError, match=f"at least {MIN_CALIBRATION_CLIPS} different clips of training videos.*received {count};"
    ):
        write_litert(load_network(run), engine.info, tmp_path / "few.tflite", quantize="int8", calibration=batches)
    assert not list(tmp_path.iterdir())


def test_refuses_operators_that_litert_does_not_have(tmp_path):
    function = tf.function(tf.linalg.inv, input_signature=[tf.TensorSpec([4, 4])])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    with pytest.raises(
        KrespError, match=r"flex\.tflite: the network needs FlexMatrixInverse, which LiteRT does not have"
    ):
        check_operators(converter.convert(), tmp_path / "flex.tflite", integer=False)


def test_refuses_int8_for_the_baseline_whose_3d_convolutions_have_no_integer_form(tmp_path):
    config = Config.model_validate(
        {
            "model": {"variant": "full3d", "frames": 2, "size": 16, "width": 2, "blocks": [1], "fc1": 4},
        }
    )
    network = P3DResNet(classes=3, **dict(config.model))
    info = NetworkInfo(
        name="full3d", format="keras", labels=("a", "b", "c"), clip=ClipFormat.of(config), clips=1, source="0"
    )
    clips = np.random.default_rng(0).integers(0, 256, (MIN_CALIBRATION_CLIPS, *info.clip.shape), np.uint8)
    with pytest.raises(KrespError, match=r"CONV_3D.* would be computed in floating point.*export without int8"):
        write_litert(network, info, tmp_path / "full3d.tflite", quantize="int8", calibration=[clips])
    write_litert(network, info, tmp_path / "full3d.tflite", quantize="none")


def test_refuses_a_network_that_gives_no_probabilities(run, engine, tmp_path):
    network = load_network(run)
    weights = network.layers[-1].get_weights()
    network.layers[-1].set_weights([np.full_like(values, np.nan) for values in weights])
    with pytest.raises(KrespError, match="gives scores that add up to nan; expected probabilities"):
        write_litert(network, engine.info, tmp_path / "nan.tflite", quantize="none")


def test_names_the_extra_where_litert_is_missing(run, engine, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(KrespError, match=r"pip install 'kresp3d\[litert\]'"):
        write_litert(keras.Model(), engine.info, tmp_path / "x.tflite", quantize="none")


def test_biases_are_corrected_on_the_way(run, files):
    clips = np.concatenate(clips_of(run, "train", 4))
    uncorrected = convert(load_network(run), "int8", clips)
    assert uncorrected != files["int8"].read_bytes()[: len(uncorrected)]

"""What lies beside a SavedModel for TensorFlow Serving, read with the official protocol buffers."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from kresp3d.export.saved_model import write_saved_model
from kresp3d.export.serving import WARMUP_FILE, moving_picture, write_batching_parameters, write_models_config
from kresp3d.inference.keras_engine import load_network, network_info
from kresp3d.runs.run_folder import RunFolder

NEEDED = "needs tensorflow-serving-api (pip install 'kresp3d[serving]')"


@pytest.fixture(scope="module")
def folder(trained_run, tmp_path_factory):
    pytest.importorskip("tensorflow_serving.apis", reason=NEEDED)
    run, folder = RunFolder.open(trained_run), tmp_path_factory.mktemp("saved") / "tiny" / "1"
    write_saved_model(load_network(run), network_info(run), folder)
    return folder


def test_the_warm_up_requests_are_ones_that_the_signatures_take(folder):
    from tensorflow_serving.apis import prediction_log_pb2

    signatures = tf.saved_model.load(str(folder)).signatures
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(folder / WARMUP_FILE))]
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert [r.model_spec.signature_name for r in requests] == ["serving_default", "encoded"]
    for request in requests:
        assert request.model_spec.name == "tiny"
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        scores = signatures[request.model_spec.signature_name](**inputs)["probabilities"].numpy()
        np.testing.assert_allclose(scores.sum(axis=1), [1.0], rtol=1e-5)


def test_the_warm_up_frames_are_of_the_size_that_clients_send(folder):
    from tensorflow_serving.apis import prediction_log_pb2

    *_, record = tf.data.TFRecordDataset(str(folder / WARMUP_FILE))
    request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
    (jpegs,) = tf.make_ndarray(request.inputs["jpegs"])
    # A clip of T + s = 5 frames, and one frame more for a second clip; the short side is 32.
    assert [tf.io.decode_jpeg(jpeg).shape for jpeg in jpegs] == [(32, 42, 3)] * 6


def test_without_the_package_there_is_no_warm_up_and_the_log_says_so(trained_run, tmp_path, monkeypatch, caplog):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow_serving"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    run = RunFolder.open(trained_run)
    with caplog.at_level(logging.WARNING, "kresp3d"):
        write_saved_model(load_network(run), network_info(run), tmp_path / "1")
    assert not (tmp_path / "1" / WARMUP_FILE).exists()
    assert "no warm-up requests" in caplog.text
    assert "kresp3d[serving]" in caplog.text
    assert (tmp_path / "1" / "saved_model.pb").is_file()


def test_the_warm_up_pictures_move():
    video = moving_picture(4, 20, 30)
    assert video.shape == (4, 20, 30, 3)
    np.testing.assert_array_equal(video[1:, :, 2:], video[:-1, :, :-2])
    assert video.std() > 20


def test_the_models_configuration_names_the_folder_where_the_model_is_mounted(tmp_path):
    config_pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2", reason=NEEDED)
    write_models_config(tmp_path, "both-streams_2.1")
    found = text_format.Parse((tmp_path / "models.config").read_text(), config_pb2.ModelServerConfig())
    (model,) = found.model_config_list.config
    assert (model.name, model.base_path) == ("both-streams_2.1", "/models/both-streams_2.1")
    assert model.model_platform == "tensorflow"
    # Nothing asks for a version: the server then takes the newest.
    assert not model.HasField("model_version_policy")


def batching_parameters():
    """The message `tensorflow.serving.BatchingParameters`, which the Python package leaves out.

    As in tensorflow_serving/servables/tensorflow/session_bundle_config.proto.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto", package="test", syntax="proto3", dependency=["google/protobuf/wrappers.proto"]
    )
    message = file.message_type.add(name="BatchingParameters")
    names = ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"]
    for number, name in enumerate(names, 1):
        message.field.add(name=name, number=number, type=11, type_name=".google.protobuf.Int64Value", label=1)
    message.field.add(name="thread_pool_name", number=5, type=11, type_name=".google.protobuf.StringValue", label=1)
    message.field.add(name="allowed_batch_sizes", number=6, type=3, label=3)
    message.field.add(name="pad_variable_length_inputs", number=7, type=8, label=1)
    message.field.add(
        name="enable_large_batch_splitting", number=8, type=11, type_name=".google.protobuf.BoolValue", label=1
    )
    message.field.add(
        name="max_execution_batch_size", number=9, type=11, type_name=".google.protobuf.Int64Value", label=1
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.BatchingParameters"))()


def test_the_batching_parameters_are_small_as_clips_are_large(tmp_path):
    write_batching_parameters(tmp_path)
    found = text_format.Parse((tmp_path / "batching_parameters.txt").read_text(), batching_parameters())
    assert found.enable_large_batch_splitting.value and 1 < found.max_execution_batch_size.value <= 8
    # The client sends all clips of a video in one request, 10 as in the paper unless asked for others.
    assert found.max_batch_size.value >= max(2 * 10, found.max_execution_batch_size.value)
    waiting = found.max_enqueued_batches.value * found.max_execution_batch_size.value
    assert waiting >= found.max_batch_size.value
    assert 0 < found.batch_timeout_micros.value <= 20_000
    assert found.num_batch_threads.value >= 1
    # Padding would add frames to a video.
    assert not found.pad_variable_length_inputs


def test_files_that_a_person_edited_are_left_alone(tmp_path):
    for name in ("models.config", "batching_parameters.txt"):
        (tmp_path / name).write_text("# mine\n")
    write_models_config(tmp_path, "tiny")
    write_batching_parameters(tmp_path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "models.config": "# mine\n",
        "batching_parameters.txt": "# mine\n",
    }

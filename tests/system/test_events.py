"""Event files are what TensorBoard's own reader takes them for."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from kresp3d.evaluation.figures import encode
from kresp3d.system.events import EventLog, _whole_records, cut_back


def reader(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def test_curves_histograms_and_pictures_are_read_back(tmp_path, read_events):
    png = encode(Figure(figsize=(2, 1)), dpi=50)
    values = np.random.default_rng(0).normal(size=(40, 5))
    with EventLog(tmp_path) as log:
        log.scalar("a/b", np.float32(0.25), 3)
        log.histogram("weights", values, 4)
        log.picture("drawing", png, 5)
        log.flush()
        assert read_events(tmp_path)["a/b"] == [(3, 0.25)]
    events = reader(tmp_path)
    [number] = events.Tensors("a/b")
    assert (number.step, tf.make_ndarray(number.tensor_proto)) == (3, 0.25)
    buckets = tf.make_ndarray(events.Tensors("weights")[0].tensor_proto)
    assert buckets[:, 2].sum() == 200 and (buckets[0, 0], buckets[-1, 1]) == (values.min(), values.max())
    np.testing.assert_array_equal(buckets[:, 2], np.histogram(values, 30)[0])
    width, height, content = tf.make_ndarray(events.Tensors("drawing")[0].tensor_proto)
    assert content == png and [int(height), int(width)] == list(tf.io.decode_png(png).shape[:2])


def test_settings_of_every_kind_stand_in_the_hparams_table(tmp_path):
    values = {"size": 8, "rate": 0.5, "flag": False, "name": "sgd", "blocks": [1, 2], "ema": None}
    with EventLog(tmp_path) as log:
        log.table(list(values), {"top1": "accuracy"}, main=["name", "flag"])
        log.hyperparameters("mine", values)
    metadata = reader(tmp_path).SummaryMetadata
    [start, table] = (
        plugin_data_pb2.HParamsPluginData.FromString(metadata(f"_hparams_/{tag}").plugin_data.content)
        for tag in ("session_start_info", "experiment")
    )
    found = start.session_start_info.hparams
    assert {key: getattr(value, value.WhichOneof("kind")) for key, value in found.items()} == {
        **values,
        "blocks": "[1, 2]",
        "ema": "null",
    }
    assert start.session_start_info.group_name == "mine"
    assert [info.name for info in table.experiment.hparam_infos] == list(values)
    assert {info.name for info in table.experiment.hparam_infos if info.differs} == {"name", "flag"}
    [metric] = table.experiment.metric_infos
    assert (metric.name.tag, metric.display_name) == ("top1", "accuracy")


def test_a_log_with_a_suffix_replaces_the_one_before(tmp_path, read_events):
    for step, suffix in enumerate(("", "test", "test", "train", "")):
        with EventLog(tmp_path, suffix) as log:
            log.scalar(f"of {suffix}", step / 2, step)
    assert read_events(tmp_path) == {"of ": [(0, 0.0), (4, 2.0)], "of test": [(2, 1.0)], "of train": [(3, 1.5)]}


@pytest.fixture
def two_files(tmp_path):
    """Epochs 0 to 2 and then 3 to 5, in a file each."""
    for epochs in (range(3), range(3, 6)):
        with EventLog(tmp_path) as log:
            for epoch in epochs:
                log.scalar("loss", epoch / 2, epoch)
    return tmp_path


def in_order(folder):
    """The event files, by the number that ends their names."""
    return sorted(folder.iterdir(), key=lambda path: int(path.name.rpartition(".")[2]))


def test_later_steps_are_dropped_and_nothing_else(two_files, read_events):
    first, _ = (path.read_bytes() for path in in_order(two_files))
    cut_back(two_files, 4)
    assert read_events(two_files) == {"loss": [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)]}
    assert in_order(two_files)[0].read_bytes() == first
    assert len(list(two_files.iterdir())) == 2
    cut_back(two_files, 1)
    assert read_events(two_files) == {"loss": [(0, 0.0), (1, 0.5)]}
    cut_back(two_files, -1)
    assert list(two_files.iterdir()) == []


def test_what_a_kill_left_half_written_is_dropped_and_what_comes_after_is_read(two_files, read_events):
    last = in_order(two_files)[1]
    last.write_bytes(last.read_bytes()[:-5])
    with pytest.raises(tf.errors.DataLossError):
        read_events(two_files)
    cut_back(two_files, 5)
    with EventLog(two_files) as log:
        log.scalar("loss", 9.0, 5)
    assert [step for step, _ in read_events(two_files)["loss"]] == [0, 1, 2, 3, 4, 5]


def test_a_folder_that_is_not_there_has_nothing_to_drop(tmp_path):
    cut_back(tmp_path / "logs", 3)
    assert not (tmp_path / "logs").exists()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(0, 60))
def test_the_whole_records_of_a_file_cut_anywhere_are_found(payloads, missing):
    file = io.BytesIO()
    for payload in payloads:
        # As TensorFlow's records are, but for the checksums, which are not looked at.
        file.write(len(payload).to_bytes(8, "little") + b"LENG" + payload + b"DATA")
    content = file.getvalue()[: max(0, len(file.getvalue()) - missing)]
    ends = np.cumsum([16 + len(payload) for payload in payloads])
    whole = [payload for payload, end in zip(payloads, ends, strict=True) if end <= len(content)]
    assert [record[12:-4] for record in _whole_records(content)] == whole

"""Training into a run folder, on tiny encoded videos."""

from __future__ import annotations

import csv
import io
import logging
import resource
import shutil
import time
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.config.schema import parse_config
from kresp3d.inference.keras_engine import KerasEngine, load_network
from kresp3d.nn import P3DResNet
from kresp3d.nn.averages import moving_averages
from kresp3d.nn.layers import BatchNorm, FactorizedConv
from kresp3d.records.index import read_index
from kresp3d.records.prepare import prepare
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.training import callbacks, compiled, session
from kresp3d.training.checkpoint import Checkpoints, Progress


@pytest.fixture
def start(tiny_config, tmp_path, monkeypatch):
    """`start(epochs=…, …)` makes a run with these training settings; `start.models` are what is trained then."""
    # Fewer operations to trace.
    model = {**tiny_config["model"], "modality": "rgb", "attention": False}

    def make(records=None, **training):
        values = {**tiny_config, "model": model, "training": {**tiny_config["training"], **training}}
        run = RunFolder.create(tmp_path / "run", parse_config(values, "the test"))
        return run, prepare(run.config.data)

    make.models = []
    compile_model = session.compile_model
    monkeypatch.setattr(
        session, "compile_model", lambda *arguments: make.models.append(compile_model(*arguments)) or make.models[-1]
    )
    return make


def history(run):
    with run.history_file.open() as file:
        return list(csv.DictReader(file))


def quiet():
    return Console(file=io.StringIO(), width=80)


def test_averaged_weights_are_kept_and_training_goes_on_from_the_raw_ones(start, monkeypatch):
    run, records = start(ema=0.7, epochs=2)
    saved, raw, averages = {}, [], []
    write_outcome = callbacks.write_outcome

    def write_and_note(run, network, model, progress):
        raw.append(model.get_weights())
        averages.append([v.numpy() for v in model.optimizer._model_variables_moving_average])
        write_outcome(run, network, model, progress)
        for before, after in zip(raw[-1], model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)
        saved[progress.epoch] = progress.best_epoch

    monkeypatch.setattr(callbacks, "write_outcome", write_and_note)
    # As after a kill in the first epoch: there is a configuration and no checkpoint.
    progress = session.train(run, records, resume=True, console=quiet())
    assert saved == {1: 1, 2: progress.best_epoch}
    network = keras.models.load_model(run.model_file)
    best = averages[progress.best_epoch - 1]
    for variable, average in zip(network.trainable_variables, best, strict=True):
        np.testing.assert_array_equal(variable.numpy(), average)
    trainable = [v.numpy() for v in network.trainable_variables]
    assert any(not np.array_equal(a, b) for a, b in zip(trainable, raw[progress.best_epoch - 1], strict=False))


def test_float16_scales_the_loss_and_keeps_averages(start):
    run, records = start(precision="mixed_float16", ema=0.5, epochs=1, warmup_epochs=0)
    session.train(run, records, console=quiet())
    [model] = start.models
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert 0 < float(history(run)[0]["learning_rate"]) < 0.05
    kept = keras.models.load_model(run.model_file)
    for variable, (_, average) in zip(kept.trainable_variables, moving_averages(model), strict=True):
        np.testing.assert_array_equal(variable.numpy(), average.numpy())
    assert {layer.compute_dtype for layer in kept.layers if layer.name == "fc1"} == {"float16"}
    assert keras.config.dtype_policy().name == "float32"
    clips = np.zeros((2, 5, 16, 16, 3), np.uint8)
    assert KerasEngine(run).probabilities(clips).sum(axis=1) == pytest.approx([1, 1])


def test_xla_trains(start):
    run, records = start(jit_compile=True, epochs=1)
    session.train(run, records, console=quiet())
    [model] = start.models
    assert model.jit_compile and np.isfinite(float(history(run)[0]["loss"]))


def test_gradient_checkpointing_trains_the_same_network(tmp_path, tiny_config):
    networks = []
    for number, checkpointing in enumerate((False, True)):
        training = {**tiny_config["training"], "epochs": 1, "gradient_checkpointing": checkpointing}
        run = RunFolder.create(tmp_path / str(number), parse_config({**tiny_config, "training": training}, "the test"))
        session.train(run, prepare(run.config.data), console=quiet())
        networks.append(load_network(run))
    for expected, found in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert [layer.name for layer in networks[1].layers] == [layer.name for layer in networks[0].layers]


def test_nothing_is_traced_again(start, monkeypatch):
    calls = []
    monkeypatch.setattr(
        compiled.SmoothedCrossEntropy,
        "call",
        lambda self, y_true, y_pred: (
            calls.append(1) or keras.losses.sparse_categorical_crossentropy(y_true, y_pred, True)
        ),
    )
    run, records = start(epochs=3)
    session.train(run, records, console=quiet())
    # 9 training steps and 3 validations: one trace of each of the two functions.
    assert len(calls) == 2


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_training_step_runs_one_fast_kernel_for_each_convolution_and_norm(tiny_config, graph_nodes, policy):
    config = parse_config({**tiny_config, "training": {**tiny_config["training"], "precision": policy}}, "the test")
    with session.dtype_policy(policy):
        model = session.compile_model(P3DResNet(classes=3, **dict(config.model)), config.training, 3, steps=10)
    frames = tf.TensorSpec((4, *ClipFormat.of(config).shape), tf.uint8)
    step = tf.function(model.train_step).get_concrete_function(({"frames": frames}, tf.TensorSpec((4,), tf.int32)))
    nodes = graph_nodes(step)
    count = Counter(node.op for node in nodes)
    layers = Counter(type(layer) for layer in model._flatten_layers())
    assert count["Conv2D"] == layers[FactorizedConv] > 8
    assert count["FusedBatchNormV3"] == layers[BatchNorm] > 8
    # Neither 3D convolutions, nor norms in pieces, nor memory that is turned round.
    assert not count.keys() & {"Conv3D", "Rsqrt", "Transpose", "SpaceToBatchND"}
    # Frames are bytes until the first operation of either stream.
    assert sum(node.op == "Cast" and node.attr["SrcT"].type == tf.uint8.as_datatype_enum for node in nodes) == 2
    # Mixed precision casts each weight and its gradient, and what the last layer takes, not what is between layers.
    casts = sum(node.op == "Cast" and node.attr["SrcT"].type == tf.bfloat16.as_datatype_enum for node in nodes)
    assert casts <= (len(model.trainable_variables) if policy == "mixed_bfloat16" else 0)


def test_a_loss_that_is_no_number_ends_training_and_the_last_epoch_stays(start, monkeypatch):
    run, records = start(epochs=3, warmup_epochs=0)
    end = callbacks.EpochEnd.on_epoch_end

    def spoil(self, epoch, logs=None):
        end(self, epoch, logs)
        variable = self.model.trainable_variables[0]
        variable.assign(variable * np.nan)

    monkeypatch.setattr(callbacks.EpochEnd, "on_epoch_end", spoil)
    # ReLU makes 0 of NaN, so that the loss may follow a step later.
    with pytest.raises(KrespError, match=r"the loss became nan in step [12] of .*training\.learning_rate"):
        session.train(run, records, console=quiet())
    assert len(history(run)) == 1
    assert all(np.isfinite(w).all() for w in keras.models.load_model(run.model_file).get_weights())
    model = start.models[-1]
    assert Checkpoints(run.checkpoints, model).restore().epoch == 1
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_weights_that_are_no_numbers_are_never_kept(start, monkeypatch):
    run, records = start(epochs=2)

    def spoil(self, batch, logs=None):
        if self.model.optimizer.iterations.numpy() == 3 + 3:
            self.model.trainable_variables[0].assign(self.model.trainable_variables[0] * np.inf)

    monkeypatch.setattr(callbacks.NanStop, "on_train_batch_end", spoil)
    with pytest.raises(KrespError, match="last step of epoch 2; the epoch before is kept"):
        session.train(run, records, console=quiet())
    assert len(history(run)) == 1


def test_training_stops_when_nothing_gets_better_and_resume_does_not_go_on(start, monkeypatch):
    run, records = start(epochs=30, early_stop=2, learning_rate=1e-12, batch_size=15)
    monkeypatch.setattr(callbacks, "write_history", lambda *arguments: None)
    scores = iter([0.2, 0.5, 0.5, 0.4, 0.9])
    end = callbacks.EpochEnd.on_epoch_end
    monkeypatch.setattr(
        callbacks.EpochEnd,
        "on_epoch_end",
        lambda self, epoch, logs: end(self, epoch, {**logs, "val_top1": next(scores), "val_loss": 1.0}),
    )
    progress = session.train(run, records, console=quiet())
    # Epoch 3 equals epoch 2, which is not better.
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (4, 2, (0.5, -1.0))
    kept = run.model_file.read_bytes()
    again = session.train(run, records, resume=True, console=quiet())
    assert again.epoch == 4 and run.model_file.read_bytes() == kept


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_kept_network_is_that_of_the_best_or_of_the_last_epoch(start, monkeypatch, keep):
    run, records = start(epochs=3, keep=keep, ema=None)
    scores = iter([0.2, 0.5, 0.4])
    end, weights = callbacks.EpochEnd.on_epoch_end, []

    def scored_end(self, epoch, logs):
        weights.append(self.network.get_weights())
        end(self, epoch, {**logs, "val_top1": next(scores), "val_loss": 1.0})

    monkeypatch.setattr(callbacks.EpochEnd, "on_epoch_end", scored_end)
    progress = session.train(run, records, console=quiet())
    assert progress.best_epoch == 2
    expected = weights[{"best": 1, "last": 2}[keep]]
    for mine, kept in zip(expected, keras.models.load_model(run.model_file).get_weights(), strict=True):
        np.testing.assert_array_equal(mine, kept)


def test_what_a_kill_left_undone_after_a_checkpoint_is_done_by_resume(start, tiny_config, monkeypatch, caplog):
    # Without validation the last epoch is the one that is kept.
    monkeypatch.setitem(tiny_config, "data", {**tiny_config["data"], "validation": 0.0})
    monkeypatch.setattr(logging.getLogger("kresp3d"), "propagate", True)
    run, records = start(epochs=2)
    write_outcome = callbacks.write_outcome

    def killed(run, network, model, progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt
        write_outcome(run, network, model, progress)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(callbacks, "write_outcome", killed)
        session.train(run, records, console=quiet())
    assert len(history(run)) == 1 and "no validation videos" in caplog.text
    expected = start.models[-1].get_weights()
    progress = session.train(run, records, resume=True, console=quiet())
    assert (progress.epoch, progress.best_epoch) == (2, 2)
    assert [set(row) for row in history(run)] == [{"epoch", "phase", "loss", "top1", "top5", "learning_rate"}] * 2
    for mine, kept in zip(expected, keras.models.load_model(run.model_file).get_weights(), strict=True):
        np.testing.assert_array_equal(mine, kept)


def test_stopping_early_without_validation_videos_is_refused(start, tiny_config, monkeypatch):
    monkeypatch.setitem(tiny_config, "data", {**tiny_config["data"], "validation": 0.0})
    run, records = start(epochs=2, early_stop=1)
    with pytest.raises(UsageError, match=r"training\.early_stop needs validation videos.*data\.validation above 0"):
        session.train(run, records, console=quiet())


def test_a_network_without_a_checkpoint_is_not_trained_over(start):
    run, records = start(epochs=1)
    session.train(run, records, console=quiet())
    shutil.rmtree(run.checkpoints)
    kept = {path: path.read_bytes() for path in (run.model_file, run.history_file, *run.logs.iterdir())}
    with pytest.raises(KrespError, match="no checkpoint to go on from; measure it by `kresp3d evaluate"):
        session.train(run, records, resume=True, console=quiet())
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_kill_between_the_log_and_the_checkpoint_leaves_no_point_twice(start, monkeypatch, read_events):
    run, records = start(epochs=3, tensorboard_every=1)
    save = Checkpoints.save

    def killed(self, progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt
        save(self, progress)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoints, "save", killed)
        session.train(run, records, console=quiet())
    assert [step for step, _ in read_events(run.logs)["loss/train"]] == [1, 2]
    session.train(run, records, resume=True, console=quiet())
    logged = read_events(run.logs)
    losses = [(int(row["epoch"]), pytest.approx(float(row["loss"]))) for row in history(run)]
    assert logged["loss/train"] == losses and len(losses) == 3
    assert [step for step, _ in logged["confusion/validation"]] == [1, 2, 3]
    assert [step for step, _ in logged["clips/0"]] == [0]


def test_a_kill_before_the_first_checkpoint_leaves_no_point_twice(start, monkeypatch, read_events):
    run, records = start(epochs=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoints, "save", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        session.train(run, records, console=quiet())
    session.train(run, records, resume=True, console=quiet())
    assert {tag: len(points) for tag, points in read_events(run.logs).items() if len(points) > 1} == {}


def test_without_validation_and_pictures_there_are_curves_alone(start, tiny_config, monkeypatch, read_events):
    monkeypatch.setitem(tiny_config, "data", {**tiny_config["data"], "validation": 0.0})
    run, records = start(epochs=1, tensorboard_clips=0, tensorboard_every=None)
    session.train(run, records, console=quiet())
    tags = {"loss/train", "top1/train", "top5/train", "learning_rate", "clips_per_second"}
    assert set(read_events(run.logs)) == tags


def test_steps_are_profiled_where_tensorboard_looks(start):
    run, records = start(epochs=1, profile=(1, 3))
    session.train(run, records, console=quiet())
    [profile] = run.logs.glob("plugins/profile/*/*.xplane.pb")
    assert b"train" in profile.read_bytes()


def test_a_full_disk_gets_a_sentence_and_the_last_epoch_stays(start, monkeypatch):
    run, records = start(epochs=3)
    save = Checkpoints.save

    def save_on_a_full_disk(self, progress):
        if progress.epoch < 2:
            return save(self, progress)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            return save(self, progress)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(Checkpoints, "save", save_on_a_full_disk)
    with pytest.raises(KrespError, match=rf"cannot write into {run.path}: .*too large.*--resume"):
        session.train(run, records, console=quiet())
    assert len(history(run)) == 1
    assert Checkpoints(run.checkpoints, start.models[-1]).restore().epoch == 1


def test_memory_that_runs_out_in_a_step_is_told_with_what_to_lower(start, monkeypatch):
    run, records = start(epochs=1)

    def out_of_memory(self, batch, logs=None):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[64,32,112,112]")

    monkeypatch.setattr(callbacks.NanStop, "on_train_batch_end", out_of_memory)
    with pytest.raises(KrespError, match=r"memory ran out in a training step \(OOM .*lower training\.batch_size"):
        session.train(run, records, console=quiet())


def own_records(run, records, tmp_path):
    """The run's records in a folder of their own, which may be damaged, in the middle of its first training video."""
    copy = read_index(shutil.copytree(records.folder, tmp_path / "records"))
    first = copy.split("train")[0]
    shard = copy.folder / first.shard
    content = bytearray(shard.read_bytes())
    content[first.offset + first.length // 2] ^= 1
    shard.write_bytes(content)
    return copy, first


def test_a_damaged_record_ends_training_by_its_name_or_is_left_out(start, tiny_config, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(tiny_config, "data", {**tiny_config["data"], "memory": 0})
    monkeypatch.setattr(logging.getLogger("kresp3d"), "propagate", True)
    run, records = start(epochs=1)
    copy, damaged = own_records(run, records, tmp_path)
    with pytest.raises(KrespError, match=rf"{damaged.shard} is damaged at byte {damaged.offset}, .*{damaged.name}"):
        session.train(run, copy, console=quiet())
    assert not run.history_file.exists()

    shutil.rmtree(run.path)
    monkeypatch.setitem(tiny_config, "data", {**tiny_config["data"], "skip_damaged": True})
    run, _ = start(epochs=1)
    assert session.train(run, copy, console=quiet()).epoch == 1
    assert f"1 damaged record left out: {damaged.name}" in caplog.text


def test_a_shard_that_is_deleted_during_training_is_named(start, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setitem(tiny_config, "data", {**tiny_config["data"], "memory": 0})
    run, records = start(epochs=3)
    copy = read_index(shutil.copytree(records.folder, tmp_path / "records"))
    begin = callbacks.EpochEnd.on_epoch_end

    def lose_a_shard(self, *arguments):
        begin(self, *arguments)
        (copy.folder / copy.videos[0].shard).unlink()

    monkeypatch.setattr(callbacks.EpochEnd, "on_epoch_end", lose_a_shard)
    with pytest.raises(KrespError, match=rf"{copy.videos[0].shard} is missing"):
        session.train(run, copy, console=quiet())
    assert len(run.history_file.read_text().splitlines()) == 2


def test_a_clock_that_goes_backwards_changes_nothing(start, monkeypatch):
    now = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    run, records = start(epochs=2)
    session.train(run, records, until=1, console=quiet())
    progress = session.train(run, records, resume=True, console=quiet())
    assert progress.epoch == 2 and progress.seconds > 0
    assert [int(row["epoch"]) for row in history(run)] == [1, 2]


def test_until_epoch_0_trains_nothing(start):
    run, records = start(epochs=2)
    assert session.train(run, records, until=0, console=quiet()).epoch == 0
    assert not run.history_file.exists()


def test_progress_survives_a_checkpoint_as_it_is():
    progress = Progress(3, 2, (0.5, -1.25), 7.5, [{"epoch": 1, "loss": 0.1}])
    assert Progress.from_json(progress.to_json()) == progress

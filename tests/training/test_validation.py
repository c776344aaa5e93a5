"""Validation passes over the videos once, and what it says of each is the mean of its clips."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kresp3d.evaluation.metrics import evaluate_scores
from kresp3d.inference.keras_engine import load_network
from kresp3d.records.pipeline import Share, evaluation_dataset
from kresp3d.runs.run_folder import RunFolder
from kresp3d.training.validation import ScoredModel, VideoScores, validation_data


def test_scores_are_added_up_by_video_in_any_order_of_clips():
    random = np.random.default_rng(0)
    labels, videos = random.integers(0, 4, 30), random.permutation(np.repeat(np.arange(30), 5))
    logits = random.normal(0, 2, (150, 4)).astype(np.float32)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.zeros((4, 4), int)
    for video, label in enumerate(labels):
        expected[label, softmax[videos == video].mean(axis=0).argmax()] += 1
    scores = VideoScores(labels, 4)
    add = tf.function(lambda logits, videos: scores.add(logits, videos))
    for _ in range(2):
        scores.reset()
        for batch in np.array_split(np.arange(150), 7):
            add(tf.constant(logits[batch]), tf.constant(videos[batch]))
        np.testing.assert_array_equal(scores.confusion(), expected)


@pytest.fixture
def run(trained_run):
    """The trained run, as if it had validated with three clips of each video: the last one is in another batch."""
    run = RunFolder.open(trained_run)
    training = run.config.training.model_copy(update={"validation_clips": 3})
    run.__dict__["config"] = run.config.model_copy(update={"training": training})
    return run


def test_the_confusion_matrix_is_that_of_the_predictions_clip_by_clip(run, monkeypatch):
    # The three validation videos are easy; the training videos are not all of them right.
    records = run.records("train")
    monkeypatch.setattr(RunFolder, "records", lambda self, split: records)
    network = load_network(run)
    clips = evaluation_dataset(records, run.records_folder, run.classes, run.config, clips=3)
    # Weights that know nothing, of which the first are taken with which some are wrong and some are right.
    for seed in range(20):
        random = np.random.default_rng(seed)
        network.layers[-1].set_weights([random.normal(size=w.shape) for w in network.layers[-1].get_weights()])
        logits = np.concatenate([network.predict_on_batch(frames) for frames, _ in clips.as_numpy_iterator()])
        expected = evaluate_scores(
            keras.ops.convert_to_numpy(keras.ops.softmax(logits)),
            np.repeat(np.arange(len(records)), 3),
            [run.classes.index(record.label) for record in records],
            run.classes,
            [record.name for record in records],
        )
        if 0 < expected.video_top1 < 1:
            break
    assert 0 < expected.video_top1 < 1

    model = ScoredModel(network.input, network.output)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"])
    dataset, model.video_scores = validation_data(run)
    figures = model.evaluate(dataset, verbose=0, return_dict=True)
    assert figures["accuracy"] == pytest.approx(expected.clip_top1)
    assert set(figures) == {"loss", "accuracy"}
    np.testing.assert_array_equal(model.video_scores.confusion(), expected.confusion)


def test_the_scores_are_no_part_of_what_is_checkpointed(run):
    network = load_network(run)
    model = ScoredModel(network.input, network.output)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(True))
    before = [id(v) for v in model.variables]
    _, model.video_scores = validation_data(run)
    assert [id(v) for v in model.variables] == before and model.weights == network.weights


def test_training_batches_leave_the_scores_alone(run):
    network = load_network(run)
    model = ScoredModel(network.input, network.output)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(True))
    _, model.video_scores = validation_data(run)
    model.video_scores.add(tf.constant([[0.0, 9.0, 0.0]]), tf.constant([0]))
    before = model.video_scores.confusion()
    model.train_on_batch({"frames": np.zeros((2, 5, 16, 16, 3), np.uint8)}, np.array([0, 1]))
    np.testing.assert_array_equal(model.video_scores.confusion(), before)


@pytest.mark.parametrize(("workers", "replicas", "batch_size"), [(1, 2, 4), (2, 1, 16), (2, 2, 5), (3, 1, 3)])
def test_the_shares_of_several_workers_come_to_the_same(run, workers, replicas, batch_size):
    evaluation = run.config.evaluation.model_copy(update={"batch_size": batch_size})
    run.__dict__["config"] = run.config.model_copy(update={"evaluation": evaluation})
    records = run.records("train")
    run.__dict__["records"] = lambda split: records
    clips, count = run.config.training.validation_clips, len(records)
    seen, weights, batches = [], [], set()
    for worker in range(workers):
        dataset, _ = validation_data(run, Share(worker, workers, replicas))
        own = list(dataset.as_numpy_iterator())
        batches.add((len(own), *{len(labels) for _, labels, _ in own}))
        for inputs, labels, weight in own:
            for video, label in zip(inputs["video"], labels, strict=True):
                assert video < 0 or run.classes[label] == records[video].label
            seen += inputs["video"].tolist()
            weights += weight.tolist()
    # Every replica has as many batches, all of one size.
    [(number, size)] = batches
    assert number % replicas == 0 and size == -(-batch_size // (workers * replicas))
    assert sorted(video for video in seen if video >= 0) == sorted(list(range(count)) * clips)
    assert {weight > 0 for video, weight in zip(seen, weights, strict=True) if video >= 0} == {True}
    assert not any(weight for video, weight in zip(seen, weights, strict=True) if video < 0)
    # So that Keras' mean over all clips is that over those which count.
    assert sum(weights) == pytest.approx(len(weights))

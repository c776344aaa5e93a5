"""A few fixed clips explain a network in training, to TensorBoard."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from kresp3d.config.schema import parse_config
from kresp3d.explain.grad_cam import GradCam
from kresp3d.inference.keras_engine import load_network
from kresp3d.nn.transforms import inference_form
from kresp3d.records.pipeline import evaluation_dataset
from kresp3d.records.prepare import prepare
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.events import EventLog
from kresp3d.training import session
from kresp3d.training.explanations import ExplainedClips, rgb_over_heat


@pytest.fixture(scope="module")
def run(trained_run):
    return RunFolder.open(trained_run)


def all_clips(run, split):
    """One clip of each video, and its label."""
    dataset = evaluation_dataset(run.records(split), run.records_folder, run.classes, run.config, clips=1)
    batches = list(dataset.as_numpy_iterator())
    return np.concatenate([x["frames"] for x, _ in batches]), np.concatenate([y for _, y in batches])


def test_the_clips_are_spread_over_the_validation_videos(run):
    frames, labels = all_clips(run, "validation")
    for count, rows in ((3, [0, 1, 2]), (2, [0, 2]), (9, [0, 1, 2])):
        clips = ExplainedClips.of(run, count)
        np.testing.assert_array_equal(clips.frames, frames[rows])
        assert clips.labels.tolist() == labels[rows].tolist()
        assert clips.names == tuple(run.classes[label] for label in labels[rows])


def test_without_validation_videos_they_are_of_the_training_videos(run, monkeypatch):
    monkeypatch.setattr(RunFolder, "splits", {"train", "test"})
    clips = ExplainedClips.of(run, 3)
    frames, _ = all_clips(run, "train")
    np.testing.assert_array_equal(clips.frames, frames[[0, 7, 14]])
    assert sorted(clips.names) == ["bend", "jump", "walk"]


def masks(network, frames):
    """The mask of the only block, `[B, C]`, from its weights: the sigmoid of a dense layer on the mean features."""
    whole = inference_form(network)
    attention = whole.get_layer("res2_1_attention")
    features = keras.Model(whole.input, attention.input)({"frames": frames})
    kernel, bias = (np.asarray(w) for w in attention.get_weights())
    return 1 / (1 + np.exp(-(np.asarray(features, np.float64).mean(axis=(1, 2, 3)) @ kernel + bias)))


def test_the_attention_is_that_of_the_averaged_weights_and_equals_numpy(tiny_config, tmp_path, read_events):
    training = {**tiny_config["training"], "epochs": 3, "ema": 0.5, "keep": "last", "tensorboard_every": 2}
    config = parse_config({**tiny_config, "training": training}, "the test")
    run = RunFolder.create(tmp_path / "run", config)
    session.train(run, prepare(config.data), console=Console(file=io.StringIO()))
    logged = read_events(run.logs)
    # The kept network has the averages of the last epoch.
    frames, _ = all_clips(run, "validation")
    mask = masks(load_network(run), frames)
    for part, columns in (
        ("appearance", slice(0, 4)),
        ("motion", slice(4, 8)),
        ("feature_residual", slice(8, 12)),
    ):
        for name, figure in (("mean", np.mean), ("spread", np.std)):
            (second, _), (last, value) = logged[f"mask_{name}/res2/{part}"]
            assert (second, last) == (2, 3) and value == pytest.approx(figure(mask[:, columns]), rel=1e-4, abs=1e-6)
        buckets = logged[f"mask/res2_1/{part}"][-1][1]
        assert buckets[:, 2].sum() == 3 * 4
        assert buckets[0, 0] == pytest.approx(mask[:, columns].min(), rel=1e-4)
    pictures = {tag: points for tag, points in logged.items() if tag.startswith("grad_cam/")}
    assert list(pictures) == ["grad_cam/0 bend", "grad_cam/1 jump", "grad_cam/2 walk"]
    assert all([step for step, _ in points] == [2, 3] for points in pictures.values())


def test_a_picture_shows_the_frames_and_where_the_evidence_for_the_true_class_is(run, tmp_path, read_events):
    network, clips = load_network(run), ExplainedClips.of(run, 3)
    before = network.get_weights()
    with EventLog(tmp_path) as log:
        clips.log(log, network, 5)
    for mine, now in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, now)
    maps = GradCam(network)(clips.frames, clips.labels)
    found = read_events(tmp_path)
    for number, name in enumerate(clips.names):
        [(step, png)] = found[f"grad_cam/{number} {name}"]
        picture = tf.io.decode_png(png).numpy()
        # Four frames of 16 x 16 above the same with heat, two pixels between.
        assert step == 5 and picture.shape == (34, 70, 3)
        for t in range(4):
            above, below = picture[:16, 18 * t : 18 * t + 16], picture[18:, 18 * t : 18 * t + 16].astype(int)
            np.testing.assert_array_equal(above, clips.frames[number, t])
            # Without heat a pixel is grey; with heat it is not.
            colourful = np.ptp(below, axis=-1)
            heat = maps[number, t]
            assert (colourful[heat < 1e-4] <= 1).all() and (colourful[heat > 0.3] > 30).all()


def test_the_heat_of_a_frame_stands_below_that_frame():
    clip = np.full((10, 8, 8, 3), 100, np.uint8)
    heat = np.zeros((9, 8, 8), np.float32)
    heat[8, 2, 3] = 1
    sheet = rgb_over_heat(clip, heat, columns=5)
    assert sheet.shape == (18, 48, 3) and (sheet[:8, :8] == 100).all()
    coloured = np.argwhere(np.ptp(sheet.astype(int), axis=-1) > 1)
    # Times 0, 2, 4, 6 and 8; the last column begins at 40.
    assert coloured.tolist() == [[10 + 2, 40 + 3]]

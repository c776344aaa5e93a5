"""What is logged after which epoch. For whole trainings see `tests/cli/test_train.py` and `test_session.py`."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kresp3d.config.schema import parse_config
from kresp3d.evaluation.figures import confusion_figure, encode
from kresp3d.runs.run_folder import RunFolder
from kresp3d.training.checkpoint import Progress
from kresp3d.training.tensorboard import HYPERPARAMETERS, MAIN, TensorBoardLog, hyperparameters
from kresp3d.training.validation import VideoScores


def test_the_settings_are_those_of_the_configuration_and_null_is_left_out():
    values = {"model": {"blocks": [1, 2], "modality": "rgb"}, "training": {"ema": None, "weight_decay": 0.5}, "seed": 3}
    found = hyperparameters(parse_config(values, "the test"))
    assert set(found) == set(HYPERPARAMETERS) - {"training.ema"} and set(MAIN) <= set(found)
    assert (found["model.blocks"], found["model.modality"]) == ([1, 2], "rgb")
    assert (found["training.weight_decay"], found["seed"], found["model.dropout"]) == (0.5, 3, 0.2)


@pytest.fixture
def board(tmp_path):
    """`board(every)`: a log of a training of five epochs with four classes and, of `d`, no validation videos."""

    def make(every, progress):
        values = {"training": {"epochs": 5, "tensorboard_every": every}, "model": {"frames": 4, "size": 16}}
        run = RunFolder.create(tmp_path / "run", parse_config(values, "the test"), overwrite=True)
        (run.path / "classes.txt").write_text("a\nb\nc\nd\n")
        frames = keras.Input([5, 16, 16, 3], dtype="uint8", name="frames")
        network = keras.Model({"frames": frames}, keras.layers.Flatten()(frames))
        scores = VideoScores(np.array([0, 0, 1, 2, 2, 2]), 4)
        return TensorBoardLog(run, network, progress, np.zeros([0, 5, 16, 16, 3], np.uint8), scores, None, lambda: 12.5)

    return make


@pytest.mark.parametrize(("every", "steps"), [(2, [2, 4, 5]), (1, [1, 2, 3, 4, 5]), (9, [5]), (0, []), (None, [])])
def test_pictures_come_every_so_many_epochs_and_after_the_last(board, read_events, every, steps):
    log = board(every, Progress())
    log.on_train_begin()
    for epoch in range(5):
        log.on_test_begin()
        # Videos 0 and 1 are taken for b and a, all others for c.
        logits = 9 * np.eye(4, dtype=np.float32)[[1, 0, 2, 2, 2, 2]]
        log.scores.add(tf.constant(logits), tf.range(6))
        log.on_epoch_end(epoch, {"loss": 1.5, "val_loss": 2.5, "learning_rate": 0.1 * epoch})
    log.close()
    found = read_events(log.run.logs)
    assert [step for step, _ in found.get("confusion/validation", [])] == steps
    confusion = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 3, 0], [0, 0, 0, 0]])
    expected = encode(confusion_figure(confusion, ("a", "b", "c", "d")))
    assert all(png == expected for _, png in found.get("confusion/validation", []))
    curves = {tag: [value for _, value in points] for tag, points in found.items() if tag != "confusion/validation"}
    assert curves == {
        "loss/train": [1.5] * 5,
        "loss/validation": [2.5] * 5,
        "learning_rate": pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4]),
        "clips_per_second": [12.5] * 5,
        "video_top1/validation": pytest.approx([4 / 6] * 5),
        "top1_by_class_validation/a": [0.5] * 5,
        "top1_by_class_validation/b": [0.0] * 5,
        "top1_by_class_validation/c": [1.0] * 5,
    }
    assert [step for step, _ in found["loss/train"]] == [1, 2, 3, 4, 5]

"""Checkpoints that are whole whatever happens."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from kresp3d.system.errors import KrespError
from kresp3d.training import checkpoint as module
from kresp3d.training.checkpoint import Checkpoints, Progress

#: Saves one epoch after another, and says which are done; each has its number for weights.
SAVING = """
import sys
from pathlib import Path
import keras
from kresp3d.training.checkpoint import Checkpoints, Progress

model = keras.Sequential([keras.Input([256]), keras.layers.Dense(2048)])
model.compile("sgd")
model.optimizer.build(model.trainable_variables)
checkpoints = Checkpoints(Path(sys.argv[1]), model, 2)
epoch = 0 if (progress := checkpoints.restore()) is None else progress.epoch
while True:
    epoch += 1
    for weight in model.weights:
        weight.assign(weight * 0 + epoch)
    checkpoints.save(Progress(epoch=epoch))
    print(epoch, flush=True)
"""


def compiled(units: int = 3, layers: int = 1, optimizer: str = "sgd") -> keras.Model:
    model = keras.Sequential([keras.Input([2]), *(keras.layers.Dense(units) for _ in range(layers))])
    model.compile(optimizer)
    model.optimizer.build(model.trainable_variables)
    return model


def save_epochs(folder: Path, epochs: int, keep: int) -> None:
    model = compiled()
    checkpoints = Checkpoints(folder, model, keep)
    for epoch in range(1, epochs + 1):
        model.layers[0].bias.assign([epoch] * 3)
        checkpoints.save(Progress(epoch=epoch, history=[{"loss": 1.0}] * epoch))


@pytest.mark.parametrize("keep", [1, 3])
def test_so_many_are_kept_and_the_last_comes_back(keep: int, tmp_path: Path) -> None:
    save_epochs(tmp_path, 5, keep)
    assert sorted(path.name for path in tmp_path.glob("*.index")) == [f"epoch-{n}.index" for n in range(6 - keep, 6)]
    model = compiled()
    assert Checkpoints(tmp_path, model, keep).restore() == Progress(epoch=5, history=[{"loss": 1.0}] * 5)
    assert model.layers[0].bias.numpy().tolist() == [5, 5, 5]


def test_other_variables_belong_to_it(tmp_path: Path) -> None:
    first, second = tf.Variable([1.0, 2.0]), tf.Variable([0.0, 0.0])
    Checkpoints(tmp_path, compiled(), others=[first]).save(Progress(epoch=1))
    assert Checkpoints(tmp_path, compiled(), others=[second]).restore() == Progress(epoch=1)
    assert second.numpy().tolist() == [1.0, 2.0]


@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "empty index"])
def test_from_a_damaged_one_it_goes_back_to_the_one_before(damage: str, tmp_path: Path, caplog, monkeypatch) -> None:
    monkeypatch.setattr("kresp3d.training.checkpoint.logger.propagate", True)
    save_epochs(tmp_path, 3, 2)
    (data,) = tmp_path.glob("epoch-3.data*")
    content = data.read_bytes()
    if damage == "cut":
        data.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        # The first variable, since what lies between them is not read.
        data.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "remove":
        data.unlink()
    else:
        (tmp_path / "epoch-3.index").write_bytes(b"")
    model = compiled()
    assert Checkpoints(tmp_path, model, 2).restore().epoch == 2
    assert model.layers[0].bias.numpy().tolist() == [2, 2, 2]
    assert "epoch-3 is damaged" in caplog.text


def test_if_all_are_damaged_a_sentence_says_so(tmp_path: Path) -> None:
    save_epochs(tmp_path, 2, 2)
    for path in tmp_path.glob("*.data*"):
        path.write_bytes(b"")
    with pytest.raises(KrespError, match=r"every checkpoint in .* is damaged.*--overwrite"):
        Checkpoints(tmp_path, compiled(), 2).restore()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"units": 4}, r"kernel\S* is float32 \[2, 3\], expected float32 \[2, 4\]"),
        ({"layers": 2}, "it has 4 variables, expected 6"),
        ({"optimizer": "adam"}, "it has 4 variables, expected 8"),
    ],
)
def test_one_of_another_network_is_refused_and_changes_no_weight(other: dict, reason: str, tmp_path: Path) -> None:
    # Kernel and bias, and of SGD its steps and learning rate; Adam has two more for each weight.
    save_epochs(tmp_path, 2, 2)
    model = compiled(**other)
    before = model.get_weights()
    with pytest.raises(KrespError, match=rf"epoch-2 is of another network.*{reason}.*--overwrite"):
        Checkpoints(tmp_path, model, 2).restore()
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_one_with_variables_of_another_type_is_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path, compiled(), others=[tf.Variable([1, 2])]).save(Progress(epoch=1))
    with pytest.raises(KrespError, match=r"is int32 \[2\], expected float32 \[2\]"):
        Checkpoints(tmp_path, compiled(), others=[tf.Variable([1.0, 2.0])]).restore()


@pytest.mark.parametrize("text", ['{"epoch": 1, "best_score": [0, 0], "novel": 3}', '{"epoch": 1}'])
def test_progress_of_another_version_is_refused(text: str, tmp_path: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "to_json", lambda self: text)
        Checkpoints(tmp_path, compiled()).save(Progress(epoch=1))
    with pytest.raises(KrespError, match=r"another .* version of kresp3d .*--overwrite"):
        Checkpoints(tmp_path, compiled()).restore()


def test_nothing_saved_is_no_error(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, compiled()).restore() is None


def test_at_every_step_of_saving_there_is_a_whole_one(tmp_path: Path, monkeypatch) -> None:
    found = []

    def look() -> None:
        """What a training that is resumed now would go on from."""
        copy = tmp_path / f"copy-{len(found)}"
        shutil.copytree(tmp_path / "run", copy)
        model = compiled()
        progress = Checkpoints(copy, model, 1).restore()
        assert progress is not None and model.layers[0].bias.numpy().tolist() == [progress.epoch] * 3
        found.append(progress.epoch)

    save_epochs(tmp_path / "run", 1, 1)
    model = compiled()
    checkpoints = Checkpoints(tmp_path / "run", model, 1)
    # All that a checkpoint does to files: TensorFlow writes two, which get their names; then the old ones go.
    for owner, name in ((checkpoints._checkpoint, "write"), (Path, "replace"), (module, "remove")):
        original = getattr(owner, name)

        def watched(*arguments, original=original):
            look()
            original(*arguments)
            look()

        monkeypatch.setattr(owner, name, watched)
    model.layers[0].bias.assign([2] * 3)
    checkpoints.save(Progress(epoch=2))
    assert len(found) == 2 * (1 + 2 + 2) and found == sorted(found)
    assert (found[0], found[-1]) == (1, 2)


def test_a_kill_in_the_middle_of_saving_leaves_a_whole_one(tmp_path: Path) -> None:
    pause = random.Random(0)
    folder = tmp_path / "checkpoints"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", SAVING, str(folder)]
    model = keras.Sequential([keras.Input([256]), keras.layers.Dense(2048)])
    model.compile("sgd")
    model.optimizer.build(model.trainable_variables)
    done = 0
    for _ in range(3):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        done = int(process.stdout.readline())
        time.sleep(pause.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().split():
            done = int(line)
        process.wait()
        progress = Checkpoints(folder, model, 2).restore()
        # What was said to be saved is; a later one may be, too.
        assert done <= progress.epoch <= done + 1
        assert {float(weight.numpy().min()) for weight in model.weights} == {float(progress.epoch)}
        assert {float(weight.numpy().max()) for weight in model.weights} == {float(progress.epoch)}
    Checkpoints(folder, model, 2).save(Progress(epoch=progress.epoch + 1))
    left = {path.name.split(".")[0] for path in folder.iterdir()}
    assert left == {f"epoch-{progress.epoch + 1}", f"epoch-{progress.epoch}"}, "what the kills have left is gone"


def test_a_variable_that_is_named_twice_is_kept_once(tmp_path: Path) -> None:
    model = compiled()
    twice = [variable.value for variable in model.variables]
    assert len(Checkpoints(tmp_path, model, 1, twice).variables) == len(Checkpoints(tmp_path, model, 1).variables)
    Checkpoints(tmp_path, model, 1, twice).save(Progress(epoch=1))
    assert Checkpoints(tmp_path, model, 1, twice).restore() == Progress(epoch=1)

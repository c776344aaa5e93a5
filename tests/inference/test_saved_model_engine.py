"""The engine that runs a SavedModel."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf

from kresp3d.export.saved_model import write_saved_model
from kresp3d.inference.keras_engine import KerasEngine, load_network
from kresp3d.inference.saved_model_engine import SavedModelEngine
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError


@pytest.fixture(scope="module")
def keras_engine(trained_run):
    return KerasEngine(RunFolder.open(trained_run))


@pytest.fixture(scope="module")
def exported(trained_run, keras_engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "1"
    write_saved_model(load_network(RunFolder.open(trained_run)), keras_engine.info, folder)
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    """An export to be damaged."""
    return shutil.copytree(exported, tmp_path / "1")


def test_batches_of_any_size_get_the_scores_of_the_keras_network(exported, keras_engine):
    engine = SavedModelEngine(exported)
    clips = np.random.default_rng(0).integers(0, 256, (5, 5, 16, 16, 3), np.uint8)
    found = np.concatenate([engine.probabilities(clips[:4]), engine.probabilities(clips[4:])])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, keras_engine.probabilities(clips), atol=1e-6)


def test_it_describes_itself_as_the_run_does_but_for_the_format(exported, keras_engine):
    assert SavedModelEngine(exported).info == keras_engine.info.model_copy(update={"format": "saved_model"})


def test_frames_of_another_count_are_refused(exported):
    with pytest.raises(KrespError, match=r"expected clips uint8 \[B, 5, 16, 16, 3\].* received uint8 \[1, 4, 16"):
        SavedModelEngine(exported).probabilities(np.zeros((1, 4, 16, 16, 3), np.uint8))


def test_a_foreign_saved_model_is_refused(tmp_path):
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, [tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "1"))
    with pytest.raises(KrespError, match=r"has no assets.extra/kresp3d.json.*kresp3d export --format saved_model"):
        SavedModelEngine(tmp_path / "1")


@pytest.mark.parametrize("name", ["run[1]", "run*", "run?"])
def test_a_path_that_tensorflow_takes_for_a_pattern_is_refused_as_such(exported, tmp_path, name):
    shutil.copytree(exported, tmp_path / name / "1")
    with pytest.raises(KrespError, match=r"cannot read a SavedModel from a path with .* use another folder"):
        SavedModelEngine(tmp_path / name / "1")


def rewrite_info(folder, old, new):
    path = folder / "assets.extra" / "kresp3d.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version": 2', '"version": 9', "another version of kresp3d"),
        ('"labels"', '"label"', "damaged description"),
        ('"saved_model"', '"onnx"', "of format onnx, expected saved_model"),
        ('"frames": 4', '"frames": 6', r"description of another network \(clips \[7, 16, 16, 3\], 3 classes\)"),
        ('"bend",', '"bend", "clap",', "description of another network.*4 classes"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(copy, old, new, message):
    rewrite_info(copy, old, new)
    with pytest.raises(KrespError, match=message):
        SavedModelEngine(copy)


@pytest.mark.parametrize(
    "part", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
@pytest.mark.parametrize("damage", ["gone", "empty", "cut off", "overwritten"])
def test_a_damaged_file_is_refused_in_a_sentence(copy, part, damage):
    path = copy / part
    content = path.read_bytes()
    half = len(content) // 2
    if damage == "gone":
        path.unlink()
    else:
        new = {
            "empty": b"",
            "cut off": content[:half],
            "overwritten": content[:half] + bytes(64) + content[half + 64 :],
        }
        path.write_bytes(new[damage])
    with pytest.raises(KrespError, match="export the run again") as caught:
        SavedModelEngine(copy)
    assert "\n" not in str(caught.value)


def test_variables_of_another_network_are_refused_in_a_sentence(copy, tmp_path):
    module = tf.Module()
    module.only = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "other"))
    shutil.rmtree(copy / "variables")
    shutil.copytree(tmp_path / "other" / "variables", copy / "variables")
    with pytest.raises(KrespError, match=r"cannot be loaded as a SavedModel .* export the run again"):
        SavedModelEngine(copy)

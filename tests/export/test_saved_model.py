"""The SavedModel: its three signatures, and that it needs nothing but TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.protobuf import config_pb2, saved_model_pb2

from kresp3d.clips.crops import centre_box
from kresp3d.clips.sampling import uniform_starts
from kresp3d.export.saved_model import centre_square, decode_centre_square, spread_starts, write_saved_model
from kresp3d.inference.keras_engine import KerasEngine, load_network
from kresp3d.inference.predictor import video_probabilities
from kresp3d.records.video_clips import video_clips
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.runs.run_folder import RunFolder
from kresp3d.video.decode import iter_frames
from kresp3d.video.jpeg import encode_jpeg

LABELS = [b"bend", b"jump", b"walk"]
#: Makes packages impossible to find, as where they are not installed.
WITHOUT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *arguments):
        hidden = name.split(".")[0] in ("keras", "kresp3d", "tf_keras", "tensorflow_io")
        return None if hidden else self.finder.find_spec(name, *arguments)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


@pytest.fixture(scope="module")
def engine(trained_run):
    return KerasEngine(RunFolder.open(trained_run))


@pytest.fixture(scope="module")
def folder(trained_run, engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "tiny" / "3"
    # Seven clips do not fill the last batch.
    info = engine.info.model_copy(update={"clips": 7})
    write_saved_model(load_network(RunFolder.open(trained_run)), info, folder)
    return folder


@pytest.fixture(scope="module")
def signatures(folder):
    return tf.saved_model.load(str(folder)).signatures


def random_video(frames, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


def test_clips_get_the_scores_of_the_keras_network_and_the_labels_in_every_row(signatures, engine):
    clips = random_video(15, 16, 16).reshape(3, 5, 16, 16, 3)
    found = signatures["serving_default"](frames=tf.constant(clips))
    np.testing.assert_allclose(found["probabilities"], engine.probabilities(clips), atol=1e-6)
    assert found["classes"].numpy().tolist() == [LABELS] * 3


@pytest.mark.parametrize(
    ("frames", "height", "width"),
    [(40, 32, 42), (11, 40, 17), (5, 16, 16), (3, 9, 12), (1, 20, 20)],
    ids=["shrunk", "odd sides", "one clip's length", "looped and enlarged", "one frame"],
)
def test_a_video_gets_the_mean_score_of_the_clips_that_evaluation_cuts(signatures, engine, frames, height, width):
    video = random_video(frames, height, width)
    found = signatures["video"](frames=tf.constant(video))
    expected = engine.probabilities(video_clips(video, engine.info.clip, clips=7)).mean(axis=0)
    np.testing.assert_allclose(found["probabilities"], [expected], atol=1e-6)
    assert found["classes"].numpy().tolist() == [LABELS]


def test_a_video_file_gets_the_score_that_prediction_gives(signatures, engine, make_video, tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=30, fps=25, size=(64, 48))
    frames = np.stack(list(iter_frames(path, fps=engine.info.clip.fps, short_side=engine.info.clip.short_side)))
    found = signatures["video"](frames=tf.constant(frames))["probabilities"]
    np.testing.assert_allclose(found, [video_probabilities(engine, path, clips=7)], atol=1e-6)


def test_jpegs_get_the_scores_of_their_decoded_frames(signatures, engine):
    videos = [random_video(12, 30, 41, seed=1), random_video(12, 24, 18, seed=2)]
    jpegs = [[encode_jpeg(frame, 90) for frame in video] for video in videos]
    found = signatures["encoded"](jpegs=tf.constant(jpegs))
    expected = []
    for video, files in zip(videos, jpegs, strict=True):
        top, left, side = centre_box(*video.shape[1:3])
        decoded = [
            tf.image.decode_and_crop_jpeg(f, [top, left, side, side], dct_method="INTEGER_ACCURATE").numpy()
            for f in files
        ]
        expected.append(engine.probabilities(video_clips(decoded, engine.info.clip, clips=7)).mean(axis=0))
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    assert found["classes"].numpy().tolist() == [LABELS] * 2


def test_grey_jpegs_and_frames_of_several_sizes_are_taken(signatures):
    grey = tf.io.encode_jpeg(random_video(1, 20, 30)[0, :, :, :1]).numpy()
    found = signatures["encoded"](jpegs=tf.constant([[grey, encode_jpeg(random_video(1, 40, 17)[0], 90)]]))
    np.testing.assert_allclose(tf.reduce_sum(found["probabilities"], axis=1), [1.0], rtol=1e-5)


@pytest.mark.parametrize("name", ["video", "encoded"])
def test_a_video_without_frames_is_refused_in_words(signatures, name):
    none = {"video": {"frames": tf.zeros([0, 9, 9, 3], tf.uint8)}, "encoded": {"jpegs": tf.zeros([1, 0], tf.string)}}
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a video of at least one frame, received none"):
        signatures[name](**none[name])


@given(st.integers(1, 10**6), st.integers(1, 400), st.integers(1, 64))
def test_starts_in_the_graph_are_those_of_evaluation(n_frames, span, clips):
    graph = tf.function(lambda n: spread_starts(n, span, clips), [tf.TensorSpec([], tf.int64)], autograph=False)
    assert graph(n_frames).numpy().tolist() == uniform_starts(n_frames, span, clips).tolist()


@pytest.mark.parametrize("clips", [1, 2, 3, 7, 10, 25])
def test_starts_in_the_graph_are_those_of_evaluation_for_every_length_of_video(clips):
    graph = tf.function(
        lambda lengths: tf.map_fn(lambda n: spread_starts(n, 17, clips), lengths),
        [tf.TensorSpec([None], tf.int64)],
        autograph=False,
    )
    lengths = np.arange(1, 1500)
    np.testing.assert_array_equal(graph(lengths), [uniform_starts(n, 17, clips) for n in lengths])


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_the_square_in_the_graph_is_that_of_evaluation(height, width):
    assert tuple(int(value) for value in centre_square(tf.constant(height), tf.constant(width))) == centre_box(
        height, width
    )


def test_only_the_square_of_a_jpeg_is_decoded():
    frame = np.zeros((16, 48, 3), np.uint8)
    frame[:, 16:32] = 200
    square = decode_centre_square(tf.constant(encode_jpeg(frame, 95))).numpy()
    assert square.shape == (16, 16, 3)
    assert abs(square[:, 2:-2].astype(int) - 200).max() < 10


def test_it_runs_where_neither_keras_nor_kresp3d_can_be_imported(folder, signatures, tmp_path):
    video = random_video(20, 24, 30)
    np.save(tmp_path / "video.npy", video)
    script = f"""{WITHOUT}
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load({str(folder)!r})
video = np.load({str(tmp_path / "video.npy")!r})
jpegs = [[tf.io.encode_jpeg(frame).numpy() for frame in video]]
loaded.signatures["encoded"](jpegs=tf.constant(jpegs))
np.save({str(tmp_path / "found.npy")!r}, loaded.signatures["video"](frames=tf.constant(video))["probabilities"])
assert not [name for name in sys.modules if name.split(".")[0] in ("keras", "kresp3d", "tf_keras")]
try:
    import keras
except ImportError:
    print("keras cannot be imported")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "keras cannot be imported" in done.stdout
    np.testing.assert_allclose(
        np.load(tmp_path / "found.npy"), signatures["video"](frames=tf.constant(video))["probabilities"], atol=1e-6
    )


def test_a_session_runs_every_signature_by_its_tensors_as_tensorflow_serving_does(folder, signatures):
    video = random_video(9, 20, 20)
    jpegs = [[encode_jpeg(frame, 90) for frame in video]]
    inputs = {"serving_default": {"frames": random_video(5, 16, 16)[None]}, "video": {"frames": video}}
    inputs["encoded"] = {"jpegs": np.array(jpegs, object)}
    found = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        for name, values in inputs.items():
            signature = meta_graph.signature_def[name]
            feed = {signature.inputs[key].name: value for key, value in values.items()}
            found[name] = session.run({key: info.name for key, info in signature.outputs.items()}, feed)
    for name, values in inputs.items():
        expected = signatures[name](**{key: tf.constant(value) for key, value in values.items()})
        np.testing.assert_allclose(found[name]["probabilities"], expected["probabilities"], atol=1e-6)
        assert found[name]["classes"].tolist() == [LABELS]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 16, 16, 3), r"\[1,4,16,16,3\] is not compatible with expected shape \[\?,5,16,16,3\]"),
        ((1, 5, 32, 32, 3), "not compatible with expected shape"),
        ((4, 5, 16, 4, 3), "not compatible with expected shape"),
        ((1, 5, 16, 16, 1), "not compatible with expected shape"),
        ((5, 16, 16, 3), "not compatible with expected shape"),
        ((0, 5, 16, 16, 3), "expected at least one clip, received none"),
    ],
)
def test_clips_of_a_wrong_shape_are_refused_when_fed_unchecked_as_by_tensorflow_serving(folder, shape, message):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        signature = meta_graph.signature_def["serving_default"]
        # `Session.run` compares a feed with the placeholder's shape; a callable hands it over as it is.
        options = config_pb2.CallableOptions(
            feed=[signature.inputs["frames"].name], fetch=[signature.outputs["probabilities"].name]
        )
        run = session._make_callable_from_options(options)
        assert run(np.zeros((2, 5, 16, 16, 3), np.uint8))[0].shape == (2, 3)
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            run(np.zeros(shape, np.uint8))


def test_the_graph_names_no_python_function_and_no_folder_of_the_exporting_machine(folder):
    content = (folder / "saved_model.pb").read_bytes()
    saved = saved_model_pb2.SavedModel.FromString(content)
    (meta_graph,) = saved.meta_graphs
    operations = {node.op for function in meta_graph.graph_def.library.function for node in function.node_def}
    assert not [name for name in operations if "Py" in name]
    known = set(dir(tf.raw_ops))
    assert not [name for name in operations if name not in known]
    assert str(folder.parent).encode() not in content
    assert b"labels.txt" in content


def test_the_signatures_are_named_and_shaped_as_they_are_documented(folder):
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    found = {
        name: {key: [d.size for d in info.tensor_shape.dim] for key, info in [*s.inputs.items(), *s.outputs.items()]}
        for name, s in saved.meta_graphs[0].signature_def.items()
        if not name.startswith("__")
    }
    scores = {"probabilities": [-1, 3], "classes": [-1, 3]}
    assert found == {
        "serving_default": {"frames": [-1, 5, 16, 16, 3], **scores},
        "video": {"frames": [-1, -1, -1, 3], "probabilities": [1, 3], "classes": [1, 3]},
        "encoded": {"jpegs": [-1, -1], **scores},
    }


def test_the_labels_and_the_description_lie_in_the_folder(folder, engine):
    assert (folder / "assets" / "labels.txt").read_text() == "bend\njump\nwalk\n"
    info = NetworkInfo.from_text((folder / "assets.extra" / "kresp3d.json").read_text(), folder)
    assert info == engine.info.model_copy(update={"format": "saved_model", "clips": 7})

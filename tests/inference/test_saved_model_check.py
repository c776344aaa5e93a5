"""SavedModels that would do more than compute."""

import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from kresp3d.inference.saved_model_check import check_file
from kresp3d.inference.saved_model_engine import SavedModelEngine
from kresp3d.system.errors import KrespError


def save(folder: Path, description: Path, function) -> Path:
    """A SavedModel whose signature calls a function, with the description of a real one."""
    module = tf.Module()
    module.weight = tf.Variable(1.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 5, 16, 16, 3], tf.uint8, name="frames")])
    def serve(frames):
        extra = function(module, frames)
        scores = tf.tile([[0.0, 0.0, 0.0]], [tf.shape(frames)[0], 1]) + module.weight
        if isinstance(extra, tf.Tensor) and extra.dtype != tf.string:
            scores += tf.cast(extra, tf.float32)
        return {"probabilities": scores}

    module.serve = serve
    tf.saved_model.save(module, str(folder), {"serving_default": serve.get_concrete_function()})
    shutil.copytree(description / "assets.extra", folder / "assets.extra", dirs_exist_ok=True)
    return folder


@pytest.fixture
def exported(exported_run: Path) -> Path:
    return exported_run / "1"


def test_what_export_wrote_is_taken(exported):
    check_file(exported / "saved_model.pb")
    SavedModelEngine(exported)


def test_one_that_only_computes_is_taken(exported, tmp_path):
    SavedModelEngine(
        save(tmp_path / "plain", exported, lambda module, frames: tf.reduce_sum(tf.cast(frames, tf.int32)))
    )


OUTSIDE = [
    *("WriteFile", "ReadFile", "EagerPyFunc", "PrintV2", "TextLineDataset"),
    # These say that they have no state.
    *("DebugIdentity", "DatasetFromGraph", "RestoreV2"),
]


@pytest.mark.parametrize("operation", OUTSIDE)
def test_one_that_reaches_outside_is_refused_and_does_nothing(operation, exported, tmp_path):
    target = tmp_path / "target"
    functions = {
        "WriteFile": lambda: tf.io.write_file(str(target), "written"),
        "ReadFile": lambda: tf.io.read_file("/etc/hostname"),
        "EagerPyFunc": lambda: tf.py_function(target.touch, [], []),
        "PrintV2": lambda: tf.print("written", output_stream=f"file://{target}"),
        "TextLineDataset": lambda: tf.data.TextLineDataset("/etc/hostname").reduce(0, lambda count, line: count + 1),
        "DebugIdentity": lambda: tf.raw_ops.DebugIdentity(input=1.0, debug_urls=[f"file://{target}"]),
        "DatasetFromGraph": lambda: tf.raw_ops.DatasetCardinality(
            input_dataset=tf.raw_ops.DatasetFromGraph(graph_def=_writing_graph(target))
        ),
        "RestoreV2": lambda: tf.raw_ops.RestoreV2(
            prefix=str(exported / "variables" / "variables"),
            tensor_names=["weights/0/.ATTRIBUTES/VARIABLE_VALUE"],
            shape_and_slices=[""],
            dtypes=[tf.float32],
        )[0],
    }
    folder = save(tmp_path / "bad", exported, lambda module, frames: functions[operation]())
    # Of several, the first in the alphabet is named.
    expected = r"\w*Dataset\w*" if "Dataset" in operation else operation
    with pytest.raises(KrespError, match=rf"operation {expected}, which no network of kresp3d has"):
        SavedModelEngine(folder)
    assert not target.exists()


def _writing_graph(target: Path) -> bytes:
    """A dataset's graph in which a file is written."""
    with tf.Graph().as_default() as graph:
        written = tf.raw_ops.WriteFile(filename=str(target), contents="written")
        with tf.control_dependencies([written]):
            stop = tf.constant(3, tf.int64)
        dataset = tf.raw_ops.RangeDataset(
            start=tf.constant(0, tf.int64),
            stop=stop,
            step=tf.constant(1, tf.int64),
            output_types=[tf.int64],
            output_shapes=[[]],
        )
        tf.identity(dataset, name="out")
    values = graph.as_graph_def()
    result = values.node.add(name="result", op="_Retval", input=["out"])
    result.attr["T"].type = tf.variant.as_datatype_enum
    result.attr["index"].i = 0
    return values.SerializeToString()


def test_an_object_that_is_made_by_running_something_is_refused(exported, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("a\nb\n")

    def look_up(module, frames):
        if not hasattr(module, "table"):
            words_of = tf.lookup.TextFileInitializer(
                str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            with tf.init_scope():
                module.table = tf.lookup.StaticHashTable(words_of, -1)
        return module.table.lookup(tf.constant("a"))

    with pytest.raises(KrespError, match="has an object of the kind resource"):
        SavedModelEngine(save(tmp_path / "bad", exported, look_up))


def test_one_of_tensorflow_1_is_refused(exported, tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    model.meta_graphs[0].ClearField("object_graph_def")
    path = tmp_path / "saved_model.pb"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(KrespError, match="not of TensorFlow 2"):
        check_file(path)


def test_one_whose_signature_saves_is_refused(exported, tmp_path):
    def write(module, frames):
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "ckpt"), tensor_names=["w"], shape_and_slices=[""], tensors=[module.weight]
        )

    with pytest.raises(KrespError, match="operation SaveV2"):
        SavedModelEngine(save(tmp_path / "bad", exported, write))
    assert not list(tmp_path.glob("ckpt*"))


def test_a_saving_function_under_the_name_of_the_saver_is_refused(exported, tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    def write(module, frames):
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "ckpt"), tensor_names=["w"], shape_and_slices=[""], tensors=[module.weight]
        )

    folder = save(tmp_path / "bad", exported, write)
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    names = [
        function.signature.name
        for function in model.meta_graphs[0].graph_def.library.function
        if any(node.op == "SaveV2" for node in function.node_def) and "serve" in function.signature.name
    ]
    content = path.read_bytes()
    for name in names:
        # As long as before, since lengths are noted.
        content = content.replace(name.encode(), b"__inference__traced_save"[: len(name)].ljust(len(name), b"_"))
    path.write_bytes(content)
    with pytest.raises(KrespError):
        SavedModelEngine(folder)
    assert not list(tmp_path.glob("ckpt*"))


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "saved_model.pb"
    with pytest.raises(KrespError, match="No such file"):
        check_file(path)
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(KrespError, match="damaged"):
        check_file(path)

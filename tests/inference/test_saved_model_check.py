"""SavedModels that would do more than compute."""

import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from kresp3d.errors import KrespError
from kresp3d.inference.saved_model_check import check_file
from kresp3d.inference.saved_model_engine import SavedModelEngine


def save(folder: Path, description: Path, function) -> Path:
    """A SavedModel whose signature calls a function, with the description of a real one."""
    module = tf.Module()
    module.weight = tf.Variable(1.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 5, 16, 16, 3], tf.uint8, name="frames")])
    def serve(frames):
        function(module, frames)
        scores = tf.zeros([tf.shape(frames)[0], 3]) + module.weight
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


@pytest.mark.parametrize("operation", ["WriteFile", "ReadFile", "EagerPyFunc", "PrintV2", "TextLineDataset"])
def test_one_that_reaches_outside_is_refused_and_does_nothing(operation, exported, tmp_path):
    target = tmp_path / "target"
    functions = {
        "WriteFile": lambda: tf.io.write_file(str(target), "written"),
        "ReadFile": lambda: tf.io.read_file("/etc/hostname"),
        "EagerPyFunc": lambda: tf.py_function(target.touch, [], []),
        "PrintV2": lambda: tf.print("written", output_stream=f"file://{target}"),
        "TextLineDataset": lambda: tf.data.TextLineDataset("/etc/hostname").reduce(0, lambda count, line: count + 1),
    }
    folder = save(tmp_path / "bad", exported, lambda module, frames: functions[operation]())
    # Of several, the first in the alphabet is named.
    expected = operation.replace("TextLine", "(TextLine|Reduce)")
    with pytest.raises(KrespError, match=rf"operation {expected}, which no network of kresp3d has"):
        SavedModelEngine(folder)
    assert not target.exists()


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

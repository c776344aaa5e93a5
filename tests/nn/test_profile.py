import keras
import pytest
import tensorflow as tf

from kresp3d.nn import P3DResNet
from kresp3d.nn.profile import profile

SMALL = {"frames": 4, "size": 32, "width": 4, "blocks": (1, 2), "fc1": 8}


def tensorflow_macs(model):
    """Half of the floating-point operations that TensorFlow's profiler counts in convolutions and products."""
    spec = tf.TensorSpec((1, *model.input["frames"].shape[1:]), tf.uint8)
    graph = tf.function(lambda frames: model({"frames": frames}, training=False)).get_concrete_function(spec).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    counted = tf.compat.v1.profiler.profile(graph, options=options.with_empty_output().build())
    kinds = {op.name: op.type for op in graph.get_operations()}

    def flops(node):
        own = node.float_ops if kinds.get(node.name) in ("Conv2D", "MatMul", "BatchMatMulV2") else 0
        return own + sum(flops(child) for child in node.children)

    return flops(counted) // 2


def conv3d_macs(model):
    """Multiply-adds of 3D convolutions, which TensorFlow's profiler does not know, from the graph's own shapes."""
    spec = tf.TensorSpec((1, *model.input["frames"].shape[1:]), tf.uint8)
    graph = tf.function(lambda frames: model({"frames": frames}, training=False)).get_concrete_function(spec).graph
    total = 0
    for op in graph.get_operations():
        if op.type == "Conv3D":
            kernel, output = op.inputs[1].shape, op.outputs[0].shape
            total += output.num_elements() * kernel[0] * kernel[1] * kernel[2] * kernel[3]
    return total


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"modality": "rgb", "stem_pool": True},
        {"attention": False, "expansion": 4},
        {"attention_pool": "space"},
        {"feature_residual": False, "step": 3},
        {"variant": "full3d"},
    ],
)
def test_macs_equal_those_of_tensorflows_profiler(options):
    model = P3DResNet(classes=3, **{**SMALL, **options})
    assert profile(model).macs == tensorflow_macs(model) + conv3d_macs(model)


def test_parameters_are_all_of_the_models():
    model = P3DResNet(classes=3, **SMALL)
    assert profile(model).parameters == model.count_params()


def test_blocks_of_a_stage_make_one_row():
    stages = profile(P3DResNet(classes=3, **SMALL)).stages
    names = ["residual_frames", "rgb_stem", "residual_stem", "res2", "res3", "fc1", "fc2"]
    assert [stage.name for stage in stages] == names
    assert stages[4].shape == (4, 8, 8, 8)


#: G multiply-adds, worked out by hand from Table 1.
@pytest.mark.parametrize(
    ("options", "macs"),
    [
        ({}, 112.68),
        ({"stem_pool": True}, 32.94),
        ({"variant": "full3d"}, 199.47),
    ],
)
def test_the_papers_network_costs_what_table_1_says_taken_literally(options, macs):
    assert profile(P3DResNet(classes=101, **options)).macs / 1e9 == pytest.approx(macs, abs=0.01)


def test_counts_a_plain_convolution_and_dense_layer_by_hand():
    inputs = keras.Input((2, 8, 8, 3))
    x = keras.layers.Conv3D(4, 3, padding="same", name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(5, name="dense")(keras.layers.Flatten()(x)))
    macs = {stage.name: stage.macs for stage in profile(model).stages}
    assert macs == {"conv": 2 * 8 * 8 * 4 * 27 * 3, "dense": 2 * 8 * 8 * 4 * 5}

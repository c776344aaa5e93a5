import keras
import numpy as np

from kresp3d.nn.transforms.graph import Copies, block_names, copy_of, producer, rewrite


def test_a_copy_of_everything_computes_the_same_with_weights_of_its_own(trained, clips):
    network = trained()
    copy = rewrite(network, Copies())
    inputs = {"frames": clips(network)}
    np.testing.assert_array_equal(copy(inputs), network(inputs, training=False))
    assert [layer.name for layer in copy.layers] == [layer.name for layer in network.layers]
    assert not {id(weight) for weight in copy.weights} & {id(weight) for weight in network.weights}


def test_an_operation_is_replaced_where_the_visit_says_so():
    x = keras.Input((3,), name="x")
    model = keras.Model(x, keras.layers.Rescaling(3.0, name="by")(keras.layers.Rescaling(2.0, name="first")(x)))

    def visit(operation, *arguments, **options):
        return copy_of(operation, scale=5.0)(*arguments) if operation.name == "by" else operation(*arguments, **options)

    new = rewrite(model, visit)
    np.testing.assert_array_equal(new(np.ones((1, 3), "float32")), np.full((1, 3), 10))
    np.testing.assert_array_equal(model(np.ones((1, 3), "float32")), np.full((1, 3), 6))
    assert producer(new.output).name == "by" and new.get_layer("first") is model.get_layer("first")


def test_blocks_are_found_by_name(trained):
    assert block_names(trained(blocks=(2, 1))) == ["res2_1", "res2_2", "res3_1"]


def test_a_layer_that_is_called_twice_has_one_copy():
    x = keras.Input((3,), name="x")
    dense = keras.layers.Dense(3, name="dense")
    copy = rewrite(keras.Model(x, dense(dense(x))), Copies("mixed_bfloat16"))
    assert [layer.name for layer in copy.layers] == ["x", "dense"]
    assert copy.get_layer("dense").compute_dtype == "bfloat16"
    np.testing.assert_array_equal(copy.get_layer("dense").kernel, dense.kernel)

import keras
import numpy as np
import pytest
import tensorflow as tf

from kresp3d.nn.transforms import recompute_blocks

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients are computed by TensorFlow")


def step(network, frames):
    """Loss and gradients of a training step."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network({"frames": frames}, training=True) ** 2)
    variables = sorted((v for v in network.trainable_variables), key=lambda variable: variable.path)
    return loss, [g.numpy() for g in tape.gradient(loss, [v.value for v in variables])]


@pytest.mark.parametrize("settings", [{}, {"variant": "full3d"}, {"stem_pool": True, "modality": "rgb"}], ids=str)
def test_outputs_gradients_and_moving_statistics_are_the_same(trained, clips, settings):
    network = trained(dropout=0.0, **settings)
    recomputed = recompute_blocks(network)
    frames, before = clips(network), network.get_weights()
    loss, gradients = step(network, frames)
    after = network.get_weights()
    network.set_weights(before)
    loss_again, gradients_again = step(recomputed, frames)
    np.testing.assert_allclose(loss_again, loss, rtol=1e-5)
    for again, first in zip(gradients_again, gradients, strict=True):
        np.testing.assert_allclose(again, first, rtol=1e-3, atol=1e-3 * np.abs(first).max())
    assert any(np.abs(now - then).max() > 0 for now, then in zip(after, before, strict=True))
    for again, first in zip(network.get_weights(), after, strict=True):
        np.testing.assert_allclose(again, first, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(
        recomputed({"frames": frames}, training=False), network({"frames": frames}, training=False)
    )


def test_keeps_the_inputs_of_the_blocks_alone(trained, clips):
    network = trained(blocks=(2, 2), dropout=0.0)
    frames = tf.constant(clips(network))

    def convolutions(model):
        function = tf.function(lambda: step_graph(model))
        graph = function.get_concrete_function().graph.as_graph_def()
        nodes = [*graph.node, *(node for called in graph.library.function for node in called.node_def)]
        return sum(node.op == "Conv2D" for node in nodes)

    def step_graph(model):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model({"frames": frames}, training=True))
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    # Those of the blocks are there once more.
    inside = [
        layer for layer in network.layers if layer.name.startswith(("res2", "res3")) and hasattr(layer, "kernel_size")
    ]
    assert convolutions(recompute_blocks(network)) == convolutions(network) + len(inside)


def test_a_network_without_bottlenecks_is_refused(trained):
    with pytest.raises(ValueError, match="recompute_blocks: expected a network with bottlenecks"):
        recompute_blocks(recompute_blocks(trained(blocks=(1,))))

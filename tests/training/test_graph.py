"""The graph is the network's, under the names of its layers."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from kresp3d.inference.keras_engine import load_network
from kresp3d.runs.run_folder import RunFolder
from kresp3d.training.graph import network_graph


def test_the_graph_is_whole_and_has_the_layers_names_and_no_weights(trained_run):
    network = load_network(RunFolder.open(trained_run))
    graph_def = tf.compat.v1.GraphDef.FromString(network_graph(network))
    with tf.Graph().as_default():
        # Refuses names that are there twice and inputs that are not there.
        tf.graph_util.import_graph_def(graph_def, name="")
    nodes = {node.name: node for node in graph_def.node}
    scopes = {name.split("/")[1] for name in nodes if name.startswith(f"{network.name}/")}
    computing = {layer.name for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)}
    # What computes nothing in inference has no operations.
    assert computing - scopes <= {"dropout"}
    for part in ("appearance", "motion", "feature_residual", "attention"):
        assert any(name.startswith(f"{network.name}/res2_1_{part}/") for name in nodes), part
    shape = [side.size for side in nodes["frames"].attr["_output_shapes"].list.shape[0].dim]
    assert shape == [-1, 5, 16, 16, 3]
    constants = [tf.make_ndarray(node.attr["value"].tensor) for node in nodes.values() if node.op == "Const"]
    weights = [w for w in network.get_weights() if w.size > 8]
    assert not any(c.shape == w.shape and np.array_equal(c, w) for c in constants for w in weights)

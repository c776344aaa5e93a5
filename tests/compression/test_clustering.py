from __future__ import annotations

import keras
import numpy as np

from kresp3d.compression.clustering import Cluster
from kresp3d.compression.kernels import choose_kernels, kernels
from kresp3d.nn import P3DResNet
from kresp3d.nn.transforms import fold, inference_form
from kresp3d.training.averages import kept_weights
from kresp3d.training.validation import ScoredModel

clips = np.random.default_rng(1).integers(0, 256, (8, 5, 16, 16, 3), np.uint8)


def folded():
    keras.utils.set_random_seed(0)
    return fold(P3DResNet(classes=3, frames=4, size=16, width=8, blocks=(1,), fc1=16, dropout=0.3))


def train(network, cluster, epochs=2):
    model = ScoredModel(network.input, network.output)
    model.kernel_values, model.others = cluster.kernel_values, cluster.trained
    model.compile(keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5), "mse")
    model.optimizer.build(model.trainable_variables)
    targets = np.ones((8, 3), np.float32)
    model.fit({"frames": clips}, targets, batch_size=4, epochs=epochs, verbose=0, callbacks=[cluster])
    return model


def test_each_chosen_kernel_has_so_many_values_to_the_file_and_the_others_have_theirs():
    network = folded()
    chosen = choose_kernels(network, None)
    model = train(network, Cluster(chosen, [], 6))
    names = {kernel.name for kernel in chosen}
    with kept_weights(model):
        # Nothing takes the values apart: there are no batch norms left to fold.
        for kernel in kernels(inference_form(network)):
            values = len(np.unique(kernel.variable.numpy()))
            assert (values <= 6) == (kernel.name in names), kernel.name
        np.testing.assert_allclose(
            network({"frames": clips}, training=False), model({"frames": clips}, training=False), atol=1e-5
        )


def test_values_and_the_weights_behind_them_are_trained():
    network = folded()
    cluster = Cluster(choose_kernels(network, ["fc1"]), [], 6)
    [kernel], [centroids] = choose_kernels(network, ["fc1"]), cluster.trained
    before = kernel.variable.numpy(), centroids.numpy()
    train(network, cluster)
    assert not np.array_equal(kernel.variable.numpy(), before[0]) and len(np.unique(kernel.variable.numpy())) > 100
    assert not np.array_equal(centroids.numpy(), before[1])
    assert any(centroids.value is variable for variable in cluster.variables)


def test_what_was_zero_stays_so():
    network = folded()
    [kernel] = choose_kernels(network, ["fc1"])
    values = kernel.variable.numpy()
    values[np.abs(values) < np.quantile(np.abs(values), 0.5)] = 0
    kernel.variable.assign(values)
    cluster = Cluster([kernel], [kernel], 5)
    model = train(network, cluster)
    with kept_weights(model):
        found = kernel.variable.numpy()
    assert not found[values == 0].any() and len(np.unique(found)) <= 5 and (found != 0).mean() > 0.3


def test_a_kernel_of_few_values_gets_no_more():
    network = folded()
    [kernel] = choose_kernels(network, ["fc2"])
    kernel.variable.assign(np.where(kernel.variable.numpy() > 0, 1.0, -1.0))
    [centroids] = Cluster([kernel], [], 16).trained
    assert sorted(centroids.numpy().tolist()) == [-1, 1]

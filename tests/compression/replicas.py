"""Compresses one network on one device and on two that mirror each other. Run by `test_methods.py`.

Logical devices are made before TensorFlow computes anything, so this has a process of its own. Prints for each method
the largest difference of a weight that is kept.
"""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import tensorflow as tf

from kresp3d.compression.methods import training_callback
from kresp3d.compression.quantization import begin_quantization
from kresp3d.config.schema import CompressConfig, TrainingConfig
from kresp3d.nn import P3DResNet
from kresp3d.nn.transforms import fold
from kresp3d.training.averages import kept_weights
from kresp3d.training.compiled import compile_model
from kresp3d.training.strategy import make_strategy

random = np.random.default_rng(0)
clips = random.integers(0, 256, (16, 3, 16, 16, 3)).astype(np.uint8)
labels = random.integers(0, 3, 16)


def compressed(method: str, training: TrainingConfig) -> list[np.ndarray]:
    keras.utils.set_random_seed(0)
    strategy = make_strategy(training)
    with strategy.scope() if strategy else contextlib.nullcontext():
        network = P3DResNet(classes=3, frames=2, size=16, width=4, blocks=(1,), fc1=8, dropout=0.0)
        # Batch norms differ among replicas: each sees its own clips.
        network = begin_quantization(network, [clips]) if method == "qat" else fold(network)
        compression = training_callback(CompressConfig(methods=(method,), sparsity=0.5, clusters=4), network, 4)
        model = compile_model(network, training, 3, 2, training.replicas or 1, compression)
    model.fit({"frames": clips}, labels, batch_size=8, epochs=2, verbose=0, shuffle=False, callbacks=[compression])
    with strategy.scope() if strategy else contextlib.nullcontext(), kept_weights(model):
        return [variable.numpy() for variable in network.trainable_variables]


def main() -> None:
    common = {"batch_size": 8, "epochs": 2, "ema": 0.5, "learning_rate": 0.05, "optimizer": "sgd"}
    common |= {"weight_decay": 1e-4, "precision": "float32"}
    for method in ("prune", "prune-2x4", "cluster", "qat"):
        two = compressed(method, TrainingConfig(strategy="mirrored", replicas=2, **common))
        one = compressed(method, TrainingConfig(**common))
        print(method, max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True)))


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    main()

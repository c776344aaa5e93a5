"""A network made ready to be trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import numpy.typing as npt

from kresp3d.compression.pruning import KeepZeros
from kresp3d.config.schema import TrainingConfig
from kresp3d.nn.transforms import recompute_blocks
from kresp3d.training.loss import SmoothedCrossEntropy
from kresp3d.training.optimizer import make_optimizer
from kresp3d.training.validation import ScoredModel


def compile_model(
    network: keras.Model,
    config: TrainingConfig,
    classes: int,
    steps: int,
    replicas: int = 1,
    compression: KeepZeros | None = None,
    class_weights: npt.NDArray[np.float32] | None = None,
) -> ScoredModel:
    """Give a network its loss, optimiser and metrics.

    Args:
        network: A `P3DResNet`, or what a transform made of one.
        config: How it is trained.
        classes: Number of classes.
        steps: Training steps in an epoch.
        replicas: Among which the clips of a step are shared out.
        compression: What compresses the network meanwhile.
        class_weights: What the loss of each class is multiplied by, float32 `[classes]`.

    Returns:
        A second model on the same layers, so that what is saved of `network` holds no optimiser or loss.
    """
    graph = recompute_blocks(network) if config.gradient_checkpointing else network
    model = ScoredModel(graph.input, graph.output, name=network.name)
    if compression is not None:
        # Which sees the kernels as they are; the layers cast them for themselves.
        model.dtype_policy = "float32"
        model.kernel_values, model.others = compression.kernel_values, compression.trained
    optimizer = make_optimizer(config, steps, replicas)
    model.compile(
        optimizer=optimizer,
        loss=SmoothedCrossEntropy(config.label_smoothing, class_weights),
        # Clips have weights in the validation of several replicas, and nowhere else.
        weighted_metrics=[
            keras.metrics.SparseCategoricalAccuracy("top1"),
            keras.metrics.SparseTopKCategoricalAccuracy(min(5, classes), name="top5"),
        ],
        jit_compile=config.jit_compile,
        auto_scale_loss=config.precision == "mixed_float16",
    )
    model.optimizer.build(model.trainable_variables)
    return model


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Within the block layers are made with this policy, such as `mixed_bfloat16`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

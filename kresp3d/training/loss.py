"""The loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kresp3d")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of class numbers and logits, with label smoothing and weights of classes.

    Keras has label smoothing only for one-hot targets.

    Args:
        label_smoothing: Share of the target spread evenly over all classes.
        class_weights: What the loss of a clip of each class is multiplied by, `[classes]`; `None` for 1.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Iterable[float] | None = None,
        name: str = "cross_entropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each clip, `[batch]`, from `y_true` int `[batch]` and `y_pred` logits `[batch, classes]`."""
        target = ops.one_hot(ops.reshape(y_true, (-1,)), y_pred.shape[-1], dtype=y_pred.dtype)
        loss = keras.losses.categorical_crossentropy(
            target, y_pred, from_logits=True, label_smoothing=self.label_smoothing
        )
        if self.class_weights is None:
            return loss
        return loss * ops.matmul(target, ops.convert_to_tensor(self.class_weights, target.dtype))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "class_weights": self.class_weights,
        }

"""Where in a clip the evidence for a class lies."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kresp3d.nn.transforms import inference_form
from kresp3d.nn.transforms.graph import block_names

#: Rows and columns that a block's picture should have to say where something is.
LEAST_CELLS = 7


class GradCam:
    """Grad-CAM over space and time (Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2).

        weight[k]    = mean over t, i and j of  d logit / d feature[t, i, j, k]
        map[t, i, j] = relu(sum over k of  weight[k] * feature[t, i, j, k])

    The network never strides over time, so a map has a picture for each of the `T` frames; rows and columns are
    enlarged to the input's. All is computed in float32 on the network's inference form, whatever its precision was.

    By default the features are those of the last block whose picture has at least 7×7 cells, as the last stage of the
    paper's network has it at 112². In small networks later stages are too coarse to point at a limb. Measured by
    `scripts/bench/grad_cam_layers.py` on the embedded dataset with `configs/base.yaml`: the heat of res2 to res5 (16,
    8, 4 and 2 cells a side) lies on moving pixels 2.9, 2.7, 1.6 and 1.0 times as much as chance would have it, and
    without the hottest fifth of a clip the mean score of 0.67 falls to 0.30, 0.33, 0.52 and 0.55 (random maps: 0.57).
    So the last two say little there or nothing; of the first two, the one nearer to the decision is taken.

    Args:
        network: A trained network.
        layer: Name of a bottleneck, such as `res4_1`; by default as said above.

    Attributes:
        layer: Name of the bottleneck.
        cells: Rows and columns of its picture.

    Raises:
        ValueError: If the network has no such bottleneck.
    """

    def __init__(self, network: keras.Model, layer: str | None = None) -> None:
        whole = inference_form(network)
        pictures = {name: tuple(whole.get_layer(name).output.shape[2:4]) for name in block_names(whole)}
        self.layer = default_layer(pictures) if layer is None else layer
        if self.layer not in pictures:
            raise ValueError(f"GradCam: layer must be one of {', '.join(pictures)}, received {layer!r}")
        self.cells: tuple[int, int] = pictures[self.layer]
        features, logits = whole.get_layer(self.layer).output, whole.get_layer("fc2").output
        self._before = keras.Model(whole.input, features)
        self._after = keras.Model(features, logits)
        self._shape = tuple(whole.input["frames"].shape[1:])
        self.classes = int(logits.shape[-1])

        # One signature for batches of every size, so that nothing is traced again.
        signature = [tf.TensorSpec([None, *self._shape], tf.uint8), tf.TensorSpec([None], tf.int32)]
        self._maps = tf.function(self._compute, input_signature=signature, autograph=False)

    def __call__(
        self, frames: npt.NDArray[np.uint8], classes: npt.NDArray[np.integer] | None = None
    ) -> npt.NDArray[np.float32]:
        """The map of each clip, divided by its own largest value over space and time.

        Args:
            frames: uint8 `[B, T + s, S, S, 3]`, any `B` of at least 1.
            classes: Integers `[B]`, the class whose evidence is looked for in each clip; `None`: the one predicted
                for the clip.

        Returns:
            float32 `[B, T, S, S]` in [0, 1]: 0 where nothing speaks for the class, 1 at the clip's strongest place. All
            0 in a clip where nothing does.

        Raises:
            ValueError: If the frames or the classes are of another shape, type or range.
        """
        if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[1:] != self._shape or not len(frames):
            raise ValueError(
                f"GradCam: expected frames uint8 [B, {', '.join(map(str, self._shape))}], B at least 1, "
                f"received {frames.dtype} {list(frames.shape)}"
            )
        if classes is None:
            chosen = np.full(len(frames), -1, np.int32)
        else:
            chosen = np.asarray(classes)
            if chosen.shape != (len(frames),) or not ((chosen >= 0) & (chosen < self.classes)).all():
                raise ValueError(
                    f"GradCam: expected {len(frames)} classes from 0 to {self.classes - 1}, received {classes}"
                )
        maps: npt.NDArray[np.float32] = self._maps(tf.constant(frames), tf.constant(chosen, tf.int32)).numpy()
        return maps

    def _compute(self, frames: Any, classes: Any) -> Any:
        features = self._before({"frames": frames}, training=False)
        with tf.GradientTape() as tape:
            tape.watch(features)
            logits = self._after(features, training=False)
            # Below 0: the predicted class.
            chosen = tf.where(classes < 0, tf.argmax(logits, axis=-1, output_type=tf.int32), classes)
            # A clip's logit depends on that clip alone, so the gradient of the sum holds that of each.
            total = tf.reduce_sum(tf.gather(logits, chosen, batch_dims=1))
        weights = tf.reduce_mean(tape.gradient(total, features), axis=(1, 2, 3), keepdims=True)
        maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))
        _, time, rows, columns = features.shape[:4]
        size = self._shape[1]
        maps = tf.image.resize(tf.reshape(maps, [-1, rows, columns, 1]), [size, size], "bilinear")
        maps = tf.reshape(maps, [-1, time, size, size])
        return tf.math.divide_no_nan(maps, tf.reduce_max(maps, axis=(1, 2, 3), keepdims=True))


def default_layer(pictures: dict[str, tuple[int, int]]) -> str:
    """The last block whose picture has at least 7×7 cells or, where none has, the last of those with the largest one.

    Args:
        pictures: Rows and columns of each block's picture, by the block's name, in the order of the network.
    """
    least = min(LEAST_CELLS, max(min(picture) for picture in pictures.values()))
    return [name for name, picture in pictures.items() if min(picture) >= least][-1]

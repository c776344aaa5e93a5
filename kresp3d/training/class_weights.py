"""What the loss of each class is multiplied by, where some classes have more videos than others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kresp3d.config.schema import Config
from kresp3d.system.errors import UsageError


def class_weights(config: Config, labels: Sequence[str], classes: Sequence[str]) -> npt.NDArray[np.float32] | None:
    """Settle `training.class_weights`.

    Args:
        config: Says what is wanted, and whether clips are balanced already.
        labels: The class of each training video.
        classes: All classes.

    Returns:
        float32 `[classes]`, whose mean over the training clips is 1; `None` if all are to be 1.

    Raises:
        UsageError: If a class is named that there is not.
    """
    wanted = config.training.class_weights
    if wanted == "none":
        return None
    counts = Counter(labels)
    videos = np.array([counts[name] for name in classes], np.float64)
    if wanted == "balanced":
        # A class without training videos has no clip to weigh.
        weights = 1 / np.maximum(videos, 1)
    else:
        if unknown := sorted(set(wanted) - set(classes)):
            raise UsageError(
                f"training.class_weights: there is no class {', '.join(map(repr, unknown))}; the classes are "
                f"{', '.join(classes)}"
            )
        weights = np.array([wanted.get(name, 1.0) for name in classes])
    shares = (videos > 0) if config.clip.balanced else videos
    return np.asarray(weights * shares.sum() / (weights * shares).sum(), np.float32)

"""Human action recognition with residual frames and an efficient pseudo-3D network, in Keras 3.

    import kresp3d

    run = kresp3d.load("runs/base")
    print(run.predict("video.mp4").label)

Names are imported when they are first used: `import kresp3d` alone loads neither TensorFlow nor Keras. Only the names
in `__all__` are public.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kresp3d.system.version import __version__

if TYPE_CHECKING:
    from kresp3d.api.run import Run, load
    from kresp3d.api.train import train
    from kresp3d.clips.clip_format import ClipFormat
    from kresp3d.inference.predictor import Prediction
    from kresp3d.nn import layers
    from kresp3d.nn.p3d_resnet import P3DResNet
    from kresp3d.records.video_clips import read_clips
    from kresp3d.system.errors import KrespError, UsageError, VideoError

__all__ = [
    "__version__",
    "load",
    "train",
    "read_clips",
    "Run",
    "Prediction",
    "ClipFormat",
    "P3DResNet",
    "layers",
    "KrespError",
    "UsageError",
    "VideoError",
]

#: Name -> the module that has it.
_MODULES = {
    "load": "kresp3d.api.run",
    "train": "kresp3d.api.train",
    "read_clips": "kresp3d.records.video_clips",
    "Run": "kresp3d.api.run",
    "ClipFormat": "kresp3d.clips.clip_format",
    "Prediction": "kresp3d.inference.predictor",
    "P3DResNet": "kresp3d.nn.p3d_resnet",
    "KrespError": "kresp3d.system.errors",
    "UsageError": "kresp3d.system.errors",
    "VideoError": "kresp3d.system.errors",
}


def __getattr__(name: str) -> Any:
    if name == "layers":
        return importlib.import_module("kresp3d.nn.layers")
    if name not in _MODULES:
        raise AttributeError(f"module 'kresp3d' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    # The next access finds it at once.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

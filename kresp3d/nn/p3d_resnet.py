"""The two-stem pseudo-3D ResNet of the paper, and its full 3D baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Final, Literal, Self

import keras
from keras import layers

from kresp3d.nn.blocks import bottleneck, full_3d, full_3d_stem, pseudo_3d, stem
from kresp3d.nn.layers import BatchNorm, ResidualFrames, SpatialMaxPool
from kresp3d.nn.layers.arguments import whole_number, whole_numbers

#: Version of the architecture. Version 1 took the feature residual of the module's input, not of its motion feature.
#: Its weights have the same shapes, so loading must refuse them.
FORMAT: Final = 2

_OWNER = "P3DResNet"

# RGB goes to [-1, 1]. Residuals are a few grey levels in most places; dividing them by 32 brings them to the same
# order, so that the first batch normalisation sees a variance well above its epsilon.
_RGB_SCALE, _RGB_OFFSET = 1 / 127.5, -1.0
_RESIDUAL_SCALE = 1 / 32


@keras.saving.register_keras_serializable(package="kresp3d")
class P3DResNet(keras.Model):
    """The network of Table 1 (Chen et al. 2020), or one of its variants, from frames to logits.

                 ┌─ first T frames ── normalise ── RGB stem ──────┐
        frames ──┤                                                ├─ concatenate ─ res2 … res5 ─ pool ─ fc1 ─ fc2 ─▶
                 └─ residual frames ─ normalise ── residual stem ─┘

    One modality alone has one stem, with twice the channels. A functional `keras.Model`, on every backend of Keras:
    residual frames and normalisation are inside, so a clip is the frames as they were decoded.

    Args:
        classes: Number of classes, at least 2.
        frames: Frames `T` in each stream; a clip has `T + step`.
        size: Side `S` of the square input, in pixels.
        step: Step size `s` of the residual frames.
        modality: `rgb`, `residual` or `both` (Table 2).
        variant: `p3d`, or `full3d` with `3×3²` convolutions in place of the modules and `3×7²` stems (Table 2).
        width: Channels of each stem and of res2; every later stage has twice as many.
        blocks: Bottlenecks in each stage, from res2 on.
        expansion: Channels out of a bottleneck, as a multiple of those inside: 1 in Table 1, 4 in a classic ResNet-50.
        attention: Whether the modules have self-attention (Table 4); without effect on `full3d`, like the next two.
        feature_residual: Whether they have the feature residual (Table 4).
        attention_pool: See `ChannelAttention`.
        norm: `batch`, or `sync_batch` to take the batch statistics over all replicas.
        stem_pool: Whether a 3×3 max-pool follows the stems, as in a ResNet; 3.4 times fewer multiply-adds.
        fc1: Units of the first fully connected layer.
        dropout: Rate of the dropout after it.
        dtype: Policy of all layers but the last, such as `mixed_bfloat16`; by default `keras.config.dtype_policy()`.
        name: Of the model.

    Input: `{"frames": uint8 [batch, T + step, S, S, 3]}`, RGB from 0 to 255, not scaled. A mapping, so that exported
        signatures call it `frames`.
    Output: logits, float32 `[batch, classes]`.

    This is not the P3D ResNet of Qiu et al. (2017), which has no residual frames and other modules. Its layers
    may be frozen, saved and loaded; to change their dtype policies afterwards, as `quantize` does, wrap the network:
    `keras.Model(model.input, model.output)`.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
    ```python
    import numpy as np
    from kresp3d.nn import P3DResNet

    model = P3DResNet(classes=10, frames=16, size=64, width=16, blocks=(1, 1, 1, 1), stem_pool=True)
    clips = np.random.default_rng(0).integers(0, 256, (2, 17, 64, 64, 3), "uint8")
    logits = model.predict({"frames": clips}, verbose=0)  # float32 [2, 10]
    ```
    """

    #: Name -> arguments of `from_preset`.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "paper-rgb": {"modality": "rgb"},
        "paper-residual": {"modality": "residual"},
        "paper-full3d": {"variant": "full3d"},
        "paper-stem-pool": {"stem_pool": True},
        "small": {
            "frames": 16,
            "size": 64,
            "width": 16,
            "blocks": (1, 1, 1, 1),
            "stem_pool": True,
            "fc1": 256,
            "dropout": 0.2,
        },
    }

    def __init__(
        self,
        *,
        classes: int,
        frames: int = 32,
        size: int = 112,
        step: int = 1,
        modality: Literal["rgb", "residual", "both"] = "both",
        variant: Literal["p3d", "full3d"] = "p3d",
        width: int = 64,
        blocks: Sequence[int] = (3, 4, 6, 3),
        expansion: int = 1,
        attention: bool = True,
        feature_residual: bool = True,
        attention_pool: Literal["space_time", "space"] = "space_time",
        norm: Literal["batch", "sync_batch"] = "batch",
        stem_pool: bool = False,
        fc1: int = 2048,
        dropout: float = 0.5,
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        classes = whole_number(_OWNER, "classes", classes, 2)
        frames, size = whole_number(_OWNER, "frames", frames), whole_number(_OWNER, "size", size, 16)
        step, width = whole_number(_OWNER, "step", step), whole_number(_OWNER, "width", width)
        blocks, expansion = whole_numbers(_OWNER, "blocks", blocks), whole_number(_OWNER, "expansion", expansion)
        fc1, dropout = whole_number(_OWNER, "fc1", fc1), _rate(dropout)
        settings = {
            "classes": classes,
            "frames": frames,
            "size": size,
            "step": step,
            "modality": _one_of("modality", modality, "rgb", "residual", "both"),
            "variant": _one_of("variant", variant, "p3d", "full3d"),
            "width": width,
            "blocks": blocks,
            "expansion": expansion,
            "attention": _one_of("attention", attention, True, False),
            "feature_residual": _one_of("feature_residual", feature_residual, True, False),
            "attention_pool": _one_of("attention_pool", attention_pool, "space_time", "space"),
            "norm": _one_of("norm", norm, "batch", "sync_batch"),
            "stem_pool": _one_of("stem_pool", stem_pool, True, False),
            "fc1": fc1,
            "dropout": dropout,
        }
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        make_norm = partial(BatchNorm, synchronized=norm == "sync_batch")
        if variant == "full3d":
            make_stem, middle = full_3d_stem, full_3d
        else:
            make_stem = stem
            middle = partial(
                pseudo_3d, feature_residual=feature_residual, attention=attention_pool if attention else None
            )

        with _default_policy(policy):
            # === Two streams ===
            clip = keras.Input((frames + step, size, size, 3), dtype="uint8", name="frames")
            streams = {}
            if modality in ("rgb", "both"):
                streams["rgb"] = layers.Rescaling(_RGB_SCALE, _RGB_OFFSET, name="rgb")(clip[:, :frames])
            if modality in ("residual", "both"):
                residual = ResidualFrames(step, name="residual_frames")(clip)
                streams["residual"] = layers.Rescaling(_RESIDUAL_SCALE, name="residual")(residual)
            # One modality alone has twice the channels, "for a fair comparison".
            filters = width * 2 // len(streams)
            stems = [make_stem(x, filters=filters, norm=make_norm, name=f"{key}_stem") for key, x in streams.items()]
            x = layers.Concatenate(name="streams")(stems) if len(stems) > 1 else stems[0]
            if stem_pool:
                x = SpatialMaxPool(name="stem_pool")(x)
            # === res2 to res5 ===
            for stage, count in enumerate(blocks):
                for block in range(count):
                    x = bottleneck(
                        x,
                        filters=width * 2**stage,
                        # res2 keeps height and width; every later stage halves it in its first block.
                        spatial_stride=2 if stage > 0 and block == 0 else 1,
                        expansion=expansion,
                        middle=middle,
                        norm=make_norm,
                        name=f"res{stage + 2}_{block + 1}",
                    )
            # === Classes ===
            x = layers.GlobalAveragePooling3D(data_format="channels_last", name="pool")(x)
            x = layers.Dense(fc1, activation="relu", kernel_initializer="he_normal", name="fc1")(x)
            x = layers.Dropout(dropout, name="dropout")(x)
            logits = layers.Dense(classes, dtype="float32", name="fc2")(x)

        super().__init__({"frames": clip}, logits, name=name or f"{variant}_{modality}")
        self.dtype_policy = policy
        self._settings = settings

    @classmethod
    def from_preset(cls, preset: str, *, classes: int, **settings: Any) -> Self:
        """Build the network of a preset, a set of arguments. Its weights are new: there are no trained ones.

        Args:
            preset: `paper` (Table 1), `paper-rgb`, `paper-residual` and `paper-full3d` (Table 2), `paper-stem-pool`
                (with the max-pool that brings the multiply-adds near the paper's), or `small`, which trains in minutes
                on a CPU.
            classes: Number of classes.
            settings: Arguments of the class that replace those of the preset.

        Raises:
            ValueError: If there is no such preset.

        Examples:
        ```python
        from kresp3d.nn import P3DResNet

        model = P3DResNet.from_preset("small", classes=10)
        ```
        """
        if preset not in cls.presets:
            raise ValueError(f"P3DResNet: preset must be one of {', '.join(cls.presets)}, received {preset!r}")
        return cls(classes=classes, **{**cls.presets[preset], **settings})

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` builds the same network from: its arguments, and which layers are frozen."""
        return {
            "format": FORMAT,
            **self._settings,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "name": self.name,
            "trainable": self.trainable,
            "frozen": [layer.name for layer in self.layers if not layer.trainable],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Build the network that `get_config` describes.

        Raises:
            ValueError: If it is one of another format, whose weights mean something else.
        """
        values = dict(config)
        if (found := values.pop("format", None)) != FORMAT:
            raise ValueError(
                f"P3DResNet: expected a network of format {FORMAT}, received format {found}; train it again"
            )
        trainable, frozen = values.pop("trainable", True), values.pop("frozen", ())
        network = cls(**values)
        network.trainable = trainable
        for layer in network.layers:
            layer.trainable = layer.name not in frozen
        return network

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None, **kwargs: Any) -> Any:
        """Compute the logits of clips.

        Raises:
            ValueError: If the clips are floating-point numbers, which are probably scaled already.
        """
        for frames in keras.tree.flatten(inputs):
            dtype = keras.backend.standardize_dtype(frames.dtype)
            if keras.backend.is_float_dtype(dtype):
                raise ValueError(
                    f"{self.name}: expected frames as uint8 from 0 to 255, received {dtype}; do not scale them, the "
                    "network does"
                )
        return super().call(inputs, training=training, mask=mask, **kwargs)


def _one_of(name: str, value: Any, *choices: Any) -> Any:
    """Return an argument that is one of a few values."""
    # Of the very type: 1 is not True, and no text is.
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise ValueError(f"{_OWNER}: {name} must be one of {', '.join(map(str, choices))}, received {value!r}")
    return value


def _rate(dropout: Any) -> float:
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"{_OWNER}: dropout must be at least 0 and below 1, received {dropout!r}")
    return float(dropout)


@contextmanager
def _default_policy(policy: Any) -> Iterator[None]:
    """Have layers that are made inside take a dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

"""The blocks of the network: functions from tensors to tensors, for Keras' functional models.

Every layer has a name that begins with its block's, such as `res3_1_motion`. `kresp3d.nn.transforms` finds layers by
these names.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import keras
from keras import layers

from kresp3d.nn.layers import BatchNorm, ChannelAttention, FactorizedConv, FeatureResidual

#: Makes a convolution: called as `convolution(filters, kernel_size, spatial_stride, name=...)`, returns a layer.
Convolution = Callable[..., keras.layers.Layer]
#: Makes a batch normalisation: called as `norm(relu=..., name=...)`, returns a layer.
Norm = Callable[..., keras.layers.Layer]


def conv_norm(
    x: Any,
    *,
    filters: int,
    kernel_size: tuple[int, int],
    spatial_stride: int = 1,
    relu: bool = True,
    convolution: Convolution = FactorizedConv,
    norm: Norm = BatchNorm,
    name: str,
) -> Any:
    """Apply a convolution, batch normalisation and, unless told otherwise, ReLU.

    Args:
        x: `[batch, frames, height, width, channels]`.
        filters: Channels that come out.
        kernel_size: `(time, space)`.
        spatial_stride: Stride over rows and columns.
        relu: Whether a ReLU follows.
        convolution: What makes the convolution, `FactorizedConv` or `full_conv`.
        norm: What makes the normalisation.
        name: Name of the convolution. The normalisation, which computes the ReLU as well, is called `{name}_norm`.

    Returns:
        `[batch, frames, ceil(height / stride), ceil(width / stride), filters]`.
    """
    x = convolution(filters, kernel_size, spatial_stride, name=name)(x)
    return norm(relu=relu, name=f"{name}_norm")(x)


def full_conv(filters: int, kernel_size: tuple[int, int], spatial_stride: int, *, name: str) -> keras.layers.Layer:
    """Make a convolution over time and space at once, the `k×k²` of a 3D ResNet.

    Args:
        filters: Channels that come out.
        kernel_size: `(time, space)`.
        spatial_stride: Stride over rows and columns.
        name: Of the layer.
    """
    time, space = kernel_size
    return layers.Conv3D(
        filters,
        (time, space, space),
        (1, spatial_stride, spatial_stride),
        padding="same",
        data_format="channels_last",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )


def stem(x: Any, *, filters: int, norm: Norm = BatchNorm, name: str) -> Any:
    """Apply the first convolutions of a stream, `1×7²` with stride 2 and `3×1²` (Table 1).

    Args:
        x: Frames, `[batch, frames, height, width, 3]`.
        filters: Channels of both convolutions.
        norm: See `conv_norm`.
        name: Of the stem.

    Returns:
        `[batch, frames, ceil(height / 2), ceil(width / 2), filters]`.
    """
    x = conv_norm(x, filters=filters, kernel_size=(1, 7), spatial_stride=2, norm=norm, name=f"{name}_appearance")
    return conv_norm(x, filters=filters, kernel_size=(3, 1), norm=norm, name=f"{name}_motion")


def full_3d_stem(x: Any, *, filters: int, norm: Norm = BatchNorm, name: str) -> Any:
    """Apply the first convolution of a stream of the 3D ResNet-50, `3×7²` with stride 2 (Table 2); see `stem`."""
    return conv_norm(
        x, filters=filters, kernel_size=(3, 7), spatial_stride=2, convolution=full_conv, norm=norm, name=f"{name}_conv"
    )


def pseudo_3d(
    f: Any,
    *,
    filters: int,
    spatial_stride: int = 1,
    feature_residual: bool = True,
    attention: Literal["space_time", "space"] | None = "space_time",
    norm: Norm = BatchNorm,
    name: str,
) -> Any:
    """Apply the pseudo-3D module (Sec. 2.2 and Fig. 2).

            ┌─ 1×3² conv, BN, ReLU ─ f_s ──────────────────────────┐
        f ──┤                                                      ├─ concatenate ─ f_cat * M + f_cat ─▶
            └─ 3×1² conv, BN, ReLU ─ f_m ─┬────────────────────────┤
                                          └─ |f_m(t+1) - f_m(t)| ──┘

    Args:
        f: `[batch, frames, height, width, channels]`.
        filters: Channels `C'` of each convolution.
        spatial_stride: Stride of both convolutions over rows and columns.
        feature_residual: Whether there is a feature residual of the motion feature.
        attention: What the self-attention averages over, see `ChannelAttention`; `None` for no attention.
        norm: See `conv_norm`.
        name: Of the block around it.

    Returns:
        `[batch, frames, ceil(height / stride), ceil(width / stride), 3 * filters]`, or `2 * filters` channels
        without the feature residual.

    Examples:
    ```python
    import keras
    from kresp3d.nn.blocks import pseudo_3d

    f = keras.Input((16, 28, 28, 64))
    f_att = pseudo_3d(f, filters=64, name="module")  # [batch, 16, 28, 28, 192]
    ```
    """
    branch = partial(conv_norm, filters=filters, spatial_stride=spatial_stride, norm=norm)
    f_s = branch(f, kernel_size=(1, 3), name=f"{name}_appearance")
    f_m = branch(f, kernel_size=(3, 1), name=f"{name}_motion")
    parts = [f_s, f_m]
    if feature_residual:
        # f_res(t) = |f_m(t+1) - f_m(t)|
        parts.append(FeatureResidual(name=f"{name}_feature_residual")(f_m))
    f_cat = layers.Concatenate(name=f"{name}_cat")(parts)
    if attention is None:
        return f_cat
    return ChannelAttention(attention, name=f"{name}_attention")(f_cat)


def full_3d(f: Any, *, filters: int, spatial_stride: int = 1, norm: Norm = BatchNorm, name: str) -> Any:
    """Apply the `3×3²` convolution that the 3D ResNet-50 has in place of the module (Table 2); see `pseudo_3d`."""
    return conv_norm(
        f,
        filters=filters,
        kernel_size=(3, 3),
        spatial_stride=spatial_stride,
        convolution=full_conv,
        norm=norm,
        name=f"{name}_conv",
    )


def bottleneck(
    x: Any,
    *,
    filters: int,
    spatial_stride: int = 1,
    expansion: int = 1,
    middle: Callable[..., Any] = pseudo_3d,
    norm: Norm = BatchNorm,
    name: str,
) -> Any:
    """Apply a residual block, with the pseudo-3D module between its pointwise convolutions (Fig. 2, Table 1).

        x ─┬─ 1×1² conv, BN, ReLU ─ middle ─ 1×1² conv, BN ─(+)─ ReLU ─▶
           └─ identity, or 1×1² conv, BN ────────────────────┘

    Args:
        x: `[batch, frames, height, width, channels]`.
        filters: Channels `C` inside.
        spatial_stride: Stride of the middle and of the shortcut over rows and columns.
        expansion: Channels that come out, as a multiple of `filters`.
        middle: The module: `pseudo_3d` or `full_3d`, perhaps with settings of its own.
        norm: See `conv_norm`.
        name: Of the block, such as `res3_1`.

    Returns:
        `[batch, frames, ceil(height / stride), ceil(width / stride), filters * expansion]`.
    """
    out = filters * expansion
    pointwise = partial(conv_norm, kernel_size=(1, 1), norm=norm)
    y = pointwise(x, filters=filters, name=f"{name}_reduce")
    y = middle(y, filters=filters, spatial_stride=spatial_stride, norm=norm, name=name)
    y = pointwise(y, filters=out, relu=False, name=f"{name}_restore")
    if spatial_stride > 1 or x.shape[-1] != out:
        # Where the shape changes (He et al. 2016, option B).
        x = pointwise(x, filters=out, spatial_stride=spatial_stride, relu=False, name=f"{name}_shortcut")
    return layers.ReLU(name=name)(layers.Add(name=f"{name}_sum")([y, x]))

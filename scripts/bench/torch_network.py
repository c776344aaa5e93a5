"""The network of the paper's Table 1 in PyTorch, as one would write it there: `Conv3d` and `BatchNorm3d` throughout.

A `kresp3d.P3DResNet`, for speed comparisons; `copy_weights` takes the weights of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kresp3d.config.schema import ModelConfig
from kresp3d.nn.transforms.graph import block_names

if TYPE_CHECKING:
    import keras


def conv_norm(channels: int, filters: int, kernel: tuple[int, int], stride: int = 1) -> nn.Sequential:
    """A 1×k² or k×1² convolution, by `kernel` `(time, space)`, and its batch normalisation."""
    time, space = kernel
    return nn.Sequential(
        nn.Conv3d(
            channels,
            filters,
            (time, space, space),
            (1, stride, stride),
            (time // 2, space // 2, space // 2),
            bias=False,
        ),
        nn.BatchNorm3d(filters),
    )


class Stem(nn.Module):
    """`1×7²` and `3×1²` convolution."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.conv1 = conv_norm(3, filters, (1, 7), stride=2)
        self.conv2 = conv_norm(filters, filters, (3, 1))

    def forward(self, x: Tensor) -> Tensor:
        """From `[B, 3, T, S, S]` to `[B, filters, T, S / 2, S / 2]`."""
        return self.conv2(self.conv1(x).relu_()).relu_()


class Pseudo3D(nn.Module):
    """Appearance, motion and feature residual, reweighted by channel attention (paper, Fig. 2)."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.appearance = conv_norm(channels, channels, (1, 3), stride)
        self.motion = conv_norm(channels, channels, (3, 1), stride)
        self.gate = nn.Linear(3 * channels, 3 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """From `[B, C, T, H, W]` to `[B, 3 * C, T, H / stride, W / stride]`."""
        motion = self.motion(x).relu_()
        residual = functional.pad((motion[:, :, 1:] - motion[:, :, :-1]).abs(), (0, 0, 0, 0, 0, 1))
        f = torch.cat([self.appearance(x).relu_(), motion, residual], dim=1)
        mask = self.gate(f.mean(dim=(2, 3, 4))).sigmoid()
        return f * (mask + 1)[:, :, None, None, None]


class Bottleneck(nn.Module):
    """A bottleneck around the pseudo-3D module."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.reduce = conv_norm(channels, filters, (1, 1))
        self.middle = Pseudo3D(filters, stride)
        self.restore = conv_norm(3 * filters, filters, (1, 1))
        same_shape = stride == 1 and channels == filters
        self.shortcut = nn.Identity() if same_shape else conv_norm(channels, filters, (1, 1), stride)

    def forward(self, x: Tensor) -> Tensor:
        """From `[B, channels, T, H, W]` to `[B, filters, T, H / stride, W / stride]`."""
        y = self.restore(self.middle(self.reduce(x).relu_()))
        return y.add_(self.shortcut(x)).relu_()


class Network(nn.Module):
    """The two-stem pseudo-3D ResNet, from uint8 frames `[B, T + s, S, S, 3]` to logits `[B, classes]`.

    Args:
        config: The network's settings. The variant with all parts and both streams is the one there is.
        classes: Number of classes.
    """

    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        built = (config.variant, config.modality, config.attention, config.feature_residual, config.attention_pool)
        if built != ("p3d", "both", True, True, "space_time") or config.expansion != 1:
            raise ValueError("expected the network of Table 1: p3d, both streams, attention, feature residual")
        self.frames, self.step = config.frames, config.step
        self.rgb_stem, self.residual_stem = Stem(config.width), Stem(config.width)
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if config.stem_pool else nn.Identity()
        channels, stages = 2 * config.width, []
        for stage, blocks in enumerate(config.blocks):
            for block in range(blocks):
                filters = config.width * 2**stage
                stages.append(Bottleneck(channels, filters, stride=2 if stage and not block else 1))
                channels = filters
        self.stages = nn.Sequential(*stages)
        self.fc1, self.dropout = nn.Linear(channels, config.fc1), nn.Dropout(config.dropout)
        self.fc2 = nn.Linear(config.fc1, classes)

    def forward(self, frames: Tensor) -> Tensor:
        """Class scores without softmax."""
        # Channels first, with the memory as it was: that of `torch.channels_last_3d`.
        x = frames.permute(0, 4, 1, 2, 3).to(self.fc2.weight.dtype)
        rgb = x[:, :, : self.frames] / 127.5 - 1
        residual = (x[:, :, self.step :] - x[:, :, : -self.step]).abs() / 32
        x = torch.cat([self.rgb_stem(rgb), self.residual_stem(residual)], dim=1)
        x = self.stages(self.pool(x)).mean(dim=(2, 3, 4))
        return self.fc2(self.dropout(self.fc1(x).relu()))


def copy_weights(source: keras.Model, target: Network) -> None:
    """Give a PyTorch network the weights of a Keras one.

    Outputs are then equal where the sides of all strided convolutions' inputs are odd. At even ones Keras pads at the
    end alone and PyTorch at both sides: the same work, on other pixels.

    Args:
        source: A `P3DResNet` of the same configuration.
        target: Of the same configuration and number of classes.
    """
    for name in ("rgb_stem", "residual_stem"):
        stem = getattr(target, name)
        _copy_conv_norm(source, f"{name}_appearance", stem.conv1)
        _copy_conv_norm(source, f"{name}_motion", stem.conv2)
    for name, block in zip(block_names(source), target.stages, strict=True):
        _copy_conv_norm(source, f"{name}_reduce", block.reduce)
        _copy_conv_norm(source, f"{name}_appearance", block.middle.appearance)
        _copy_conv_norm(source, f"{name}_motion", block.middle.motion)
        _copy_dense(source, f"{name}_attention", block.middle.gate)
        _copy_conv_norm(source, f"{name}_restore", block.restore)
        if isinstance(block.shortcut, nn.Sequential):
            _copy_conv_norm(source, f"{name}_shortcut", block.shortcut)
    _copy_dense(source, "fc1", target.fc1)
    _copy_dense(source, "fc2", target.fc2)


def _copy_conv_norm(source: keras.Model, name: str, target: nn.Sequential) -> None:
    conv, norm = target
    (kernel,) = source.get_layer(name).get_weights()
    # [k, k, in, out] or [k, 1, in, out]; the axes that a FactorizedConv leaves out have length 1.
    _assign(conv.weight, np.transpose(kernel, (3, 2, 0, 1)).reshape(conv.weight.shape))
    layer = source.get_layer(f"{name}_norm")
    norm.eps = layer.epsilon
    for tensor, values in zip(
        (norm.weight, norm.bias, norm.running_mean, norm.running_var), layer.get_weights(), strict=True
    ):
        _assign(tensor, values)


def _copy_dense(source: keras.Model, name: str, target: nn.Linear) -> None:
    kernel, bias = source.get_layer(name).get_weights()
    _assign(target.weight, kernel.T)
    _assign(target.bias, bias)


def _assign(tensor: Tensor, values: np.ndarray) -> None:
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(np.ascontiguousarray(values)))

"""The paper's method in plain NumPy: an independent reference to test the Keras network against.

Written from the paper's text (Sec. 2.1, 2.2, Fig. 2, Table 1) and the design's reading of it, not from `kresp3d`.
Features are float64 [B, T, H, W, C], and the code prefers clarity to speed. Everything is inference: batch norms
use their moving statistics and there is no dropout.

    frames ─┬─ first T, scaled ──── stem ─┐
            │                             ++ ── max-pool (optional) ── bottlenecks ── mean ── fc1 ── fc2
            └─ residual frames, /32 ─ stem ┘
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

STREAMS = ("rgb", "residual")  # the order in which the stems' features are concatenated
POOLED_AXES = {"space_time": (1, 2, 3), "space": (2, 3)}


@dataclass(frozen=True)
class ConvNorm:
    """A convolution without bias: kernel [kt, kh, kw, Cin, Cout]; and the batch norm after it: four times [Cout]."""

    kernel: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float = 1e-5


@dataclass(frozen=True)
class Attention:
    """The one-layer network of the attention mask: weight [3C, 3C], used as `pooled @ weight`, and bias [3C]."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Module:
    """The pseudo-3D module between the two 1×1×1: a 1×3×3 and a 3×1×1 convolution, and the attention, if any."""

    appearance: ConvNorm
    motion: ConvNorm
    attention: Attention | None


@dataclass(frozen=True)
class Bottleneck:
    """A block of Table 1; `middle` is the module, or one 3×3×3 for the full 3D baseline. No `shortcut` is identity."""

    reduce: ConvNorm
    middle: Module | ConvNorm
    restore: ConvNorm
    shortcut: ConvNorm | None = None
    stride: int = 1


@dataclass(frozen=True)
class Stem:
    """One stream's conv1, in sequence: 1×7×7 then 3×1×1, or one 3×7×7 for the full 3D baseline."""

    convs: tuple[ConvNorm, ...]


@dataclass(frozen=True)
class Dense:
    """A fully connected layer: weight [Cin, Cout] and bias [Cout]."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Network:
    """The whole network; `stems` has "rgb", "residual" or both, `frames` is T and `step` is s."""

    stems: Mapping[str, Stem]
    blocks: tuple[Bottleneck, ...]
    fc1: Dense
    fc2: Dense
    frames: int
    step: int = 1
    stem_pool: bool = False
    feature_residual: bool = True
    attention_pool: str = "space_time"


# === Convolution, batch norm, pooling ===


def windows(
    x: np.ndarray, size: tuple[int, int, int], spatial_stride: int, fill: float
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Yield each offset in a window of `size` and what every output sees there: [B, T, H, W, C] -> [B, T, H', W', C].

    The padding is TensorFlow's "same", with the value `fill`; time is never strided.
    """
    strides = (1, spatial_stride, spatial_stride)
    outputs, padding = [], []
    for n, k, stride in zip(x.shape[1:4], size, strides, strict=True):
        out = -(-n // stride)
        total = max((out - 1) * stride + k - n, 0)
        outputs.append(out)
        padding.append((total // 2, total - total // 2))
    padded = np.pad(x, [(0, 0), *padding, (0, 0)], constant_values=fill)
    for offset in np.ndindex(*size):
        t, h, w = (
            slice(start, start + (out - 1) * stride + 1, stride)
            for start, out, stride in zip(offset, outputs, strides, strict=True)
        )
        yield offset, padded[:, t, h, w]


def convolve(x: np.ndarray, kernel: np.ndarray, spatial_stride: int = 1) -> np.ndarray:
    """Cross-correlate [B, T, H, W, Cin] with a kernel [kt, kh, kw, Cin, Cout]: [B, T, H', W', Cout]."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    return sum(seen @ kernel[offset] for offset, seen in windows(x, kernel.shape[:3], spatial_stride, fill=0.0))


def conv_norm(x: np.ndarray, parameters: ConvNorm, spatial_stride: int = 1, relu: bool = True) -> np.ndarray:
    """Return BN(convolution), rectified if `relu`: [B, T, H, W, Cin] -> [B, T, H', W', Cout]."""
    p = parameters
    y = convolve(x, p.kernel, spatial_stride)
    y = p.gamma * (y - p.mean) / np.sqrt(np.asarray(p.variance, np.float64) + p.epsilon) + p.beta
    return np.maximum(y, 0) if relu else y


def max_pool(x: np.ndarray) -> np.ndarray:
    """Return the maxima of 3×3 pixels with stride 2: [B, T, H, W, C] -> [B, T, H', W', C]. Padding never wins."""
    x = np.asarray(x, np.float64)
    return np.max([seen for _, seen in windows(x, (1, 3, 3), 2, fill=-np.inf)], axis=0)


# === Sec. 2.1: residual frames ===


def residual_frames(x: np.ndarray, step: int) -> np.ndarray:
    """Return |x(t+s) - x(t)|: [B, T+s, H, W, 3] of any dtype -> float64 [B, T, H, W, 3]."""
    x = np.asarray(x, np.float64)  # uint8 differences would wrap around
    return np.abs(x[:, step:] - x[:, :-step])


# === Sec. 2.2: the pseudo-3D convolution module ===


def feature_residual(f_m: np.ndarray) -> np.ndarray:
    """Return f_res(t) = |f_m(t+1) - f_m(t)|, and 0 at the last t: [B, T, H, W, C] -> the same shape."""
    f_res = np.zeros(f_m.shape)
    f_res[:, :-1] = np.abs(f_m[:, 1:] - f_m[:, :-1])
    return f_res


def attention_mask(f: np.ndarray, attention: Attention, pool: str = "space_time") -> np.ndarray:
    """Return M = sigmoid(W pool(f) + b): [B, T, H, W, 3C] -> [B, 1, 1, 1, 3C]; with pool "space", [B, T, 1, 1, 3C]."""
    pooled = np.mean(f, axis=POOLED_AXES[pool], keepdims=True, dtype=np.float64)
    return 1 / (1 + np.exp(-(pooled @ attention.weight + attention.bias)))


def attend(f: np.ndarray, attention: Attention, pool: str = "space_time") -> np.ndarray:
    """Return f_att = f ⊙ M + f: [B, T, H, W, 3C] -> the same shape."""
    return f * attention_mask(f, attention, pool) + f


def pseudo_3d(
    f: np.ndarray,
    module: Module,
    spatial_stride: int = 1,
    use_feature_residual: bool = True,
    attention_pool: str = "space_time",
) -> np.ndarray:
    """Compute the module (Fig. 2) without its two 1×1×1: [B, T, H, W, C] -> [B, T, H', W', 3C].

    Without the feature residual (Table 4), 3C is 2C here and in the attention.
    """
    f_s = conv_norm(f, module.appearance, spatial_stride)
    f_m = conv_norm(f, module.motion, spatial_stride)
    features = [f_s, f_m, feature_residual(f_m)] if use_feature_residual else [f_s, f_m]
    f_cat = np.concatenate(features, axis=-1)
    return f_cat if module.attention is None else attend(f_cat, module.attention, attention_pool)


# === Fig. 2 and Table 1: the blocks and the network ===


def bottleneck(
    x: np.ndarray, parameters: Bottleneck, use_feature_residual: bool = True, attention_pool: str = "space_time"
) -> np.ndarray:
    """Compute ReLU(restore(middle(reduce(x))) + shortcut(x)): [B, T, H, W, Cin] -> [B, T, H', W', Cout]."""
    p = parameters
    y = conv_norm(x, p.reduce)
    if isinstance(p.middle, Module):
        y = pseudo_3d(y, p.middle, p.stride, use_feature_residual, attention_pool)
    else:
        y = conv_norm(y, p.middle, p.stride)
    y = conv_norm(y, p.restore, relu=False)
    shortcut = x if p.shortcut is None else conv_norm(x, p.shortcut, p.stride, relu=False)
    return np.maximum(y + shortcut, 0)


def stem(x: np.ndarray, parameters: Stem) -> np.ndarray:
    """Compute one stream's conv1; its first convolution has stride 2: [B, T, S, S, 3] -> [B, T, S/2, S/2, C]."""
    first, *rest = parameters.convs
    x = conv_norm(x, first, spatial_stride=2)
    for conv in rest:
        x = conv_norm(x, conv)
    return x


def dense(x: np.ndarray, parameters: Dense) -> np.ndarray:
    """Compute a fully connected layer: [B, Cin] -> [B, Cout]."""
    return x @ parameters.weight + parameters.bias


def network(frames: np.ndarray, parameters: Network) -> np.ndarray:
    """Compute the logits of clips: uint8 [B, T+s, S, S, 3] -> float64 [B, classes].

    The paper gives no scale for pixels; here RGB becomes -1 to 1 and residual frames are divided by 32.
    """
    p = parameters
    streams = {
        "rgb": np.asarray(frames[:, : p.frames], np.float64) / 127.5 - 1,
        "residual": residual_frames(frames, p.step) / 32,
    }
    x = np.concatenate([stem(streams[name], p.stems[name]) for name in STREAMS if name in p.stems], axis=-1)
    if p.stem_pool:
        x = max_pool(x)
    for block in p.blocks:
        x = bottleneck(x, block, p.feature_residual, p.attention_pool)
    x = x.mean(axis=(1, 2, 3))
    x = np.maximum(dense(x, p.fc1), 0)
    return dense(x, p.fc2)

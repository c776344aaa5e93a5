"""The layers of the network, on any Keras backend."""

from kresp3d.layers.batch_norm import BatchNorm
from kresp3d.layers.bottleneck import Bottleneck
from kresp3d.layers.channel_attention import ChannelAttention
from kresp3d.layers.conv_norm import ConvNorm
from kresp3d.layers.factorized_conv import FactorizedConv
from kresp3d.layers.feature_residual import FeatureResidual
from kresp3d.layers.pseudo3d import Pseudo3D
from kresp3d.layers.residual_frames import ResidualFrames
from kresp3d.layers.rounded_rescaling import RoundedRescaling
from kresp3d.layers.rounding import Rounding
from kresp3d.layers.spatial_max_pool import SpatialMaxPool
from kresp3d.layers.stem import Stem

__all__ = [
    "BatchNorm",
    "Bottleneck",
    "ChannelAttention",
    "ConvNorm",
    "FactorizedConv",
    "FeatureResidual",
    "Pseudo3D",
    "ResidualFrames",
    "RoundedRescaling",
    "Rounding",
    "SpatialMaxPool",
    "Stem",
]

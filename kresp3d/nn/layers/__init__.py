"""The layers of the network, on any Keras backend."""

from kresp3d.nn.layers.batch_norm import BatchNorm
from kresp3d.nn.layers.channel_attention import ChannelAttention
from kresp3d.nn.layers.factorized_conv import FactorizedConv
from kresp3d.nn.layers.feature_residual import FeatureResidual
from kresp3d.nn.layers.residual_frames import ResidualFrames
from kresp3d.nn.layers.spatial_max_pool import SpatialMaxPool

__all__ = [
    "BatchNorm",
    "ChannelAttention",
    "FactorizedConv",
    "FeatureResidual",
    "ResidualFrames",
    "SpatialMaxPool",
]

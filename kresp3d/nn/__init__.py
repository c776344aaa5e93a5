"""The network of the paper, for Keras alone: TensorFlow, JAX or PyTorch."""

from kresp3d.nn import blocks, layers
from kresp3d.nn.p3d_resnet import P3DResNet

__all__ = ["P3DResNet", "blocks", "layers"]

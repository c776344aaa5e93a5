"""Functions from a network to a network, over the named operations of its graph."""

from kresp3d.nn.transforms.fold import fold
from kresp3d.nn.transforms.inference import inference_form
from kresp3d.nn.transforms.recompute import recompute_blocks
from kresp3d.nn.transforms.round_int8 import round_int8
from kresp3d.nn.transforms.slim import slim

__all__ = ["fold", "inference_form", "recompute_blocks", "round_int8", "slim"]

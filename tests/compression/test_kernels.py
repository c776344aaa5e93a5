from __future__ import annotations

import numpy as np
import pytest

from kresp3d.compression.kernels import choose_kernels, kernels
from kresp3d.config import ModelConfig
from kresp3d.errors import UsageError
from kresp3d.models.p3d_resnet import build_model


def network(**values):
    return build_model(ModelConfig(**{"frames": 2, "size": 16, "width": 4, "blocks": (1,), "fc1": 8, **values}), 3)


def test_kernels_have_the_names_of_their_layers_from_input_to_output():
    block = ["reduce", "pseudo3d/appearance", "pseudo3d/motion", "pseudo3d/attention/gate", "project", "shortcut"]
    stems = [f"{stream}_stem/conv{number}" for stream in ("rgb", "residual") for number in (1, 2)]
    model = network()
    found = kernels(model)
    assert [kernel.name for kernel in found] == [*stems, *(f"res2_1/{name}" for name in block), "fc1", "fc2"]
    # No other weights have two axes.
    assert sum(kernel.size for kernel in found) == sum(np.size(v) for v in model.get_weights() if np.ndim(v) > 1)
    assert {k.name for k in found if k.is_dense} == {"res2_1/pseudo3d/attention/gate", "fc1", "fc2"}


def test_by_default_convolutions_and_fc1_are_chosen_but_stems_gates_and_the_last_layer_are_not():
    names = [kernel.name for kernel in choose_kernels(network(), None)]
    block = ["reduce", "pseudo3d/appearance", "pseudo3d/motion", "project", "shortcut"]
    assert names == [*(f"res2_1/{name}" for name in block), "fc1"]
    names = [kernel.name for kernel in choose_kernels(network(variant="full3d"), None)]
    assert names == ["res2_1/reduce", "res2_1/conv3d", "res2_1/project", "res2_1/shortcut", "fc1"]


def test_patterns_choose_by_name():
    assert [k.name for k in choose_kernels(network(), ["fc?", "*/motion"])] == ["res2_1/pseudo3d/motion", "fc1", "fc2"]


def test_a_pattern_that_fits_nothing_is_named():
    with pytest.raises(UsageError, match=r"no layer 'res2_1/projekt'; did you mean 'res2_1/project'\?"):
        choose_kernels(network(), ["fc1", "res2_1/projekt"])
    with pytest.raises(UsageError, match=r"no layer 'x'; its layers are rgb_stem/conv1, .*, fc2"):
        choose_kernels(network(), ["x"])


def test_zeros_are_counted():
    kernel = kernels(network())[-1]
    values = kernel.variable.numpy()
    values[:2] = 0
    kernel.variable.assign(values)
    assert (kernel.zeros, kernel.size) == (6, 24)

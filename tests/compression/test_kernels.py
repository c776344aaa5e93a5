from __future__ import annotations

import numpy as np
import pytest

from kresp3d.compression.kernels import choose_kernels, kernels
from kresp3d.nn import P3DResNet
from kresp3d.system.errors import UsageError


def network(**values):
    return P3DResNet(classes=3, **{"frames": 2, "size": 16, "width": 4, "blocks": (1,), "fc1": 8, **values})


def test_kernels_have_the_names_of_their_layers_from_input_to_output():
    block = {"reduce", "appearance", "motion", "attention", "restore", "shortcut"}
    stems = {f"{stream}_stem_{part}" for stream in ("rgb", "residual") for part in ("appearance", "motion")}
    model = network()
    found = kernels(model)
    names = [kernel.name for kernel in found]
    assert set(names[:4]) == stems and names[-2:] == ["fc1", "fc2"]
    assert set(names[4:-2]) == {f"res2_1_{name}" for name in block} and len(names) == 12
    # No other weights have two axes.
    assert sum(kernel.size for kernel in found) == sum(np.size(v) for v in model.get_weights() if np.ndim(v) > 1)
    assert {k.name for k in found if k.is_dense} == {"res2_1_attention", "fc1", "fc2"}


def test_by_default_convolutions_and_fc1_are_chosen_but_stems_gates_and_the_last_layer_are_not():
    names = [kernel.name for kernel in choose_kernels(network(), None)]
    assert set(names) == {*(f"res2_1_{x}" for x in ("reduce", "appearance", "motion", "restore", "shortcut")), "fc1"}
    names = [kernel.name for kernel in choose_kernels(network(variant="full3d"), None)]
    assert set(names) == {"res2_1_reduce", "res2_1_conv", "res2_1_restore", "res2_1_shortcut", "fc1"}


def test_patterns_choose_by_name():
    assert [k.name for k in choose_kernels(network(), ["fc?", "res2*_motion"])] == ["res2_1_motion", "fc1", "fc2"]


def test_a_pattern_that_fits_nothing_is_named():
    with pytest.raises(UsageError, match=r"no layer 'res2_1_restor'; did you mean 'res2_1_restore'\?"):
        choose_kernels(network(), ["fc1", "res2_1_restor"])
    with pytest.raises(UsageError, match=r"no layer 'x'; its layers are rgb_stem_appearance, .*, fc2"):
        choose_kernels(network(), ["x"])


def test_zeros_are_counted():
    kernel = kernels(network())[-1]
    values = kernel.variable.numpy()
    values[:2] = 0
    kernel.variable.assign(values)
    assert (kernel.zeros, kernel.size) == (6, 24)

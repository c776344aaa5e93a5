from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kresp3d.compression.clustering import Cluster
from kresp3d.compression.methods import training_callback
from kresp3d.compression.pruning import KeepZeros, Prune
from kresp3d.compression.quantization import Quantize
from kresp3d.compression.rounding import Rounding
from kresp3d.config.schema import CompressConfig
from kresp3d.nn import P3DResNet
from kresp3d.nn.transforms import round_int8


@pytest.mark.parametrize(
    ("method", "kind"),
    [("prune", Prune), ("prune-2x4", Prune), ("cluster", Cluster), ("qat", Quantize), ("slim", KeepZeros)],
)
def test_each_method_has_its_callback_which_keeps_zeros(method: str, kind: type) -> None:
    network = P3DResNet(classes=3, frames=2, size=16, width=4, blocks=(1,), fc1=8)
    network = round_int8(network, Rounding) if method == "qat" else network
    kernel = network.get_layer("fc1").kernel
    values = kernel.numpy()
    values[0] = 0
    kernel.assign(values)
    callback = training_callback(CompressConfig(methods=("prune", method)), network, 10)
    assert type(callback) is kind
    assert any(variable is kernel for variable, _ in callback.zeros())


def test_without_a_method_there_is_none() -> None:
    network = P3DResNet(classes=3, frames=2, size=16, width=4, blocks=(1,), fc1=8)
    assert training_callback(CompressConfig(), network, 10) is None


def test_several_replicas_come_to_what_one_device_comes_to() -> None:
    script = Path(__file__).with_name("replicas.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    differences = {method: float(difference) for method, difference in map(str.split, done.stdout.splitlines())}
    assert set(differences) == {"prune", "prune-2x4", "cluster", "qat"}
    # Each replica has its own range of a tensor, of which the mean is taken; a rounded weight may differ by a step.
    assert all(difference < (0.05 if method == "qat" else 1e-5) for method, difference in differences.items())

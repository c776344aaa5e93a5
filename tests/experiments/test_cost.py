from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kresp3d.config.schema import ModelConfig, parse_config
from kresp3d.experiments.cost import measure_rate, survey
from kresp3d.nn import P3DResNet
from kresp3d.nn.profile import profile
from kresp3d.system.errors import KrespError, UsageError


def test_networks_are_counted_elsewhere_and_one_that_cannot_be_built_is_named(tmp_path):
    tiny = {"frames": 4, "size": 16, "width": 4, "blocks": (1,), "fc1": 8}
    models = {"rgb": ModelConfig(modality="rgb", **tiny), "full3d": ModelConfig(variant="full3d", **tiny)}
    # In a process that has no TensorFlow, and still has none afterwards.
    program = (
        "import sys\n"
        "from kresp3d.config.schema import ModelConfig\n"
        "from kresp3d.experiments.cost import survey\n"
        f"tiny = {tiny!r}\n"
        "if __name__ == '__main__':\n"
        "    models = {'rgb': ModelConfig(modality='rgb', **tiny), 'full3d': ModelConfig(variant='full3d', **tiny)}\n"
        "    costs = survey(models, 3).costs\n"
        "    print(*(number for cost in costs.values() for number in (cost.parameters, cost.macs)))\n"
        "    assert 'tensorflow' not in sys.modules\n"
    )
    script = tmp_path / "script.py"
    script.write_text(program)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    expected = [profile(P3DResNet(classes=3, **dict(model))) for model in models.values()]
    assert [int(word) for word in done.stdout.split()] == [n for cost in expected for n in (cost.parameters, cost.macs)]


def test_a_network_that_cannot_be_built_is_named():
    with pytest.raises(UsageError, match="row rgb: the network cannot be built with this configuration: "):
        survey({"rgb": ModelConfig(blocks=(1,))}, 1)


def test_the_rate_of_training_is_measured_elsewhere_and_on_the_cores_that_are_given():
    model = {"frames": 2, "size": 16, "width": 4, "blocks": [1], "fc1": 8}
    config = parse_config({"model": model, "training": {"precision": "float32", "batch_size": 2}}, "test")
    (first, *_) = os.sched_getaffinity(0)
    assert 1 < measure_rate(config, 3, [first]) < 1e6
    assert len(os.sched_getaffinity(0)) >= 1


def test_what_does_not_fit_is_said_before_it_is_measured_or_trained():
    # A network of 4 TiB, of which nothing is allocated.
    large = {"frames": 4096, "size": 1024, "width": 16, "blocks": [1], "fc1": 8}
    config = parse_config(
        {"data": {"short_side": 1024}, "model": large, "training": {"precision": "float32", "batch_size": 8}}, "test"
    )
    with pytest.raises(KrespError, match=r"GiB are available; lower training\.batch_size and evaluation\.batch_size"):
        measure_rate(config, 3)
    tiny = ModelConfig(frames=4, size=16, width=4, blocks=(1,), fc1=8)
    with pytest.raises(KrespError, match=r"GiB are available; lower training\.batch_size and evaluation\.batch_size"):
        survey({"small": tiny, "large": config.model}, 3, config)

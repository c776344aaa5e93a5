from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from kresp3d.api.compress import KEYS, compress_config, fine_tuning
from kresp3d.config.schema import CompressConfig, Config, parse_config
from kresp3d.system.errors import UsageError

#: Another value of each key.
OTHER = {"layers": "[fc1]", "sparsity": "0.5", "schedule": "constant", "ramp": "0.25", "block": "[2, 1]"}
OTHER |= {"clusters": "8", "width": "0.25"}


@dataclass
class Trained:
    """What of a run is looked at before its network."""

    config: Config
    path: Path = Path("runs/trained")
    config_file: Path = Path("runs/trained/config.yaml")


def trained(**training):
    return Trained(parse_config({"name": "trained", "training": {"epochs": 9, "keep": "best", **training}}, "test"))


@pytest.mark.parametrize("method", KEYS)
def test_a_method_takes_its_own_keys_and_refuses_those_of_others(method):
    assert OTHER.keys() == CompressConfig.model_fields.keys() - {"methods"}
    for key, value in OTHER.items():
        override = [f"compress.{key}={value}"]
        if key in KEYS[method]:
            assert getattr(compress_config(trained(), method, override).compress, key) != getattr(CompressConfig(), key)
        else:
            with pytest.raises(UsageError, match=rf"compress\.{key} has no effect on {method}, which uses"):
                compress_config(trained(), method, override)


def test_the_keys_of_an_earlier_method_are_not_those_of_the_next():
    first = compress_config(trained(), "prune", ["compress.sparsity=0.5", "name=mine"])
    second = compress_config(Trained(first), "cluster")
    assert second.compress == CompressConfig(methods=("prune", "cluster")) and second.name == "mine-cluster"


def test_it_trains_shorter_and_slower_and_keeps_the_last_epoch():
    config = compress_config(trained(learning_rate=0.4, early_stop=3), "prune")
    training = config.training
    assert (training.epochs, training.learning_rate, training.keep, training.early_stop) == (5, 0.1, "last", None)
    assert fine_tuning(trained(epochs=1).config, "prune")["epochs"] == 1
    assert compress_config(trained(precision="mixed_bfloat16"), "qat").training.precision == "float32"

"""What workers tell each other, as one of two of them; prints what came of it. Run by `test_collectives.py`."""

from __future__ import annotations

import json

import numpy as np
import tensorflow as tf

from kresp3d.config.schema import TrainingConfig
from kresp3d.distributed import collectives
from kresp3d.distributed.cluster import Cluster
from kresp3d.system.errors import UsageError
from kresp3d.training.strategy import make_strategy, share_of


def main() -> None:
    cluster = Cluster.from_environment()
    strategy = make_strategy(TrainingConfig(strategy="multi_worker", batch_size=4))
    share = share_of(strategy, cluster)
    own = cluster.worker
    arrays = [
        np.array([0.1, -2.5e-8, 3e20], np.float32) * (own + 1),
        np.array([[2**32 - 1, 7]], np.uint32) - np.uint32(own),
        np.array([True, False]) ^ bool(own),
        np.zeros([0, 3], np.int32),
    ]
    received = collectives.from_chief(strategy, cluster, arrays)
    with strategy.scope():
        variable = tf.Variable([1.0, 2.0])
    variable.assign([3.0 + own, 4.0])
    collectives.variables_from_chief(strategy, cluster, [variable])
    collectives.check_agreement(strategy, cluster, {"settings": "the same"})
    try:
        collectives.check_agreement(strategy, cluster, {"settings": "the same", "videos": f"those of {own}"})
        told = ""
    except UsageError as error:
        told = str(error)
    found = {
        "share": [share.worker, share.workers, share.replicas],
        "types": [str(array.dtype) for array in received],
        "arrays": [array.tolist() for array in received],
        "text": collectives.text_from_chief(strategy, cluster, ["größer als 0", "no"][own]),
        "nothing": collectives.text_from_chief(strategy, cluster, ["", "x"][own]),
        "variable": variable.numpy().tolist(),
        "told": told,
    }
    collectives.meet(strategy, cluster)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""The hosts that train one network together, as the environment variable `TF_CONFIG` names them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kresp3d.config.schema import TrainingConfig
from kresp3d.system.address import Address
from kresp3d.system.errors import UsageError

#: Names all hosts and this one; TensorFlow reads it too.
VARIABLE = "TF_CONFIG"

#: Seconds after which a worker says, and says again, whom it waits for.
INTERVAL = 10.0
#: Seconds that it waits.
PATIENCE = 1800.0

_EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """Some hosts, each with one process, a worker. The first one is the chief, in whose folder the run is."""

    addresses: tuple[str, ...]
    """`host:port` of each worker."""
    worker: int
    """Which of them this process is."""

    @classmethod
    def of(cls, config: TrainingConfig) -> Cluster | None:
        """The hosts that train as a configuration says; `None` where one does.

        Raises:
            UsageError: As `from_environment`.
        """
        return cls.from_environment() if config.strategy == "multi_worker" else None

    @classmethod
    def from_environment(cls) -> Cluster:
        """Read `TF_CONFIG`.

        Raises:
            UsageError: If it is not set, or not as TensorFlow wants it.
        """
        text = os.environ.get(VARIABLE)
        if text is None:
            raise UsageError(
                f"training.strategy multi_worker needs the environment variable {VARIABLE} on every host, such as "
                f"{_EXAMPLE}, with another index on each"
            )
        try:
            values = json.loads(text)
            hosts, task = values["cluster"], values["task"]
            groups = [(kind, list(hosts.get(kind, []))) for kind in ("chief", "worker")]
            # In TensorFlow's order.
            tasks = [(kind, index) for kind, addresses in groups for index in range(len(addresses))]
            addresses = tuple(str(address) for _, group in groups for address in group)
            worker = tasks.index((task["type"], int(task["index"])))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise UsageError(
                f"{VARIABLE} is {text[:200]!r}; expected JSON such as {_EXAMPLE}, whose task is one of the cluster's, "
                "of type chief or worker"
            ) from None
        for address in addresses:
            Address.parse(address, f"{VARIABLE}:")
        if len(set(addresses)) != len(addresses):
            raise UsageError(f"{VARIABLE}: two workers have the same address")
        return cls(addresses, worker)

    @property
    def is_chief(self) -> bool:
        """Whether this process keeps the run."""
        return self.worker == 0

    def __str__(self) -> str:
        return f"worker {self.worker + 1} of {len(self.addresses)}"


@contextmanager
def waiting(cluster: Cluster) -> Iterator[None]:
    """Say, while the other workers are waited for, which of them cannot be reached; after `PATIENCE` end the process.

    Ctrl-C ends it at once then: while TensorFlow waits, Python is told of no signal.
    """
    others = [address for number, address in enumerate(cluster.addresses) if number != cluster.worker]
    words = [str(os.getpid()), str(cluster), str(INTERVAL), str(PATIENCE), *others]
    script = Path(__file__).with_name("waiting.py")
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Without the site's packages, which take time and memory to find.
    watch = subprocess.Popen([sys.executable, "-I", "-S", script, *words], start_new_session=True)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        watch.kill()
        watch.wait()

"""A sweep over several machines, with keras-tuner's own chief and workers.

The chief has the oracle and the journal and trains nothing; each worker asks it for a trial, runs it and reports.
They speak gRPC without encryption or passwords: for a network that one trusts.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

from kresp3d.experiments.tuning.oracle import JournaledOracle
from kresp3d.system.address import Address
from kresp3d.system.errors import KrespError, UsageError

#: keras-tuner knows a chief by this word in its name.
CHIEF = "chief"


def set_environment(address: Address, worker: str | None) -> None:
    """Tell keras-tuner in this process who it is.

    Args:
        address: The chief's.
        worker: The worker's name; `None` for the chief.

    Raises:
        UsageError: If a worker's name cannot be one.
    """
    if worker is not None and (not worker or CHIEF in worker):
        raise UsageError(f"--worker {worker}: keras-tuner takes a name with '{CHIEF}' for the chief; choose another")
    os.environ["KERASTUNER_ORACLE_IP"] = address.written_host
    os.environ["KERASTUNER_ORACLE_PORT"] = str(address.port)
    os.environ["KERASTUNER_TUNER_ID"] = worker or CHIEF


def check_free(address: Address) -> None:
    """Make sure that the chief can listen.

    Raises:
        KrespError: If it cannot.
    """
    try:
        with socket.create_server((address.host, address.port), family=address.family):
            pass
    except OSError as error:
        raise KrespError(
            f"cannot listen on {address}: {error.strerror or error}; --chief takes an address of this machine "
            "and a port that is free"
        ) from None


def wait_for_chief(address: Address, say: Callable[[str], None], interval: float = 1.0) -> None:
    """Return when the chief can be reached; say once if that takes a while."""
    has_said = False
    while True:
        try:
            socket.create_connection((address.host, address.port), timeout=5.0).close()
        except OSError as error:
            if not has_said:
                say(f"Waiting for the chief at {address} ({error.strerror or error}).")
                has_said = True
            time.sleep(interval)
        else:
            if has_said:
                say("The chief is there.")
            return


class Watch:
    """Sees in a thread of the chief's that workers are alive, and takes the trials of those that are not.

    Args:
        oracle: The chief's.
        patience: Seconds without a sign after which a worker counts as gone.
        say: Called with a sentence where a person should know.
    """

    def __init__(self, oracle: JournaledOracle, patience: float, say: Callable[[str], None]) -> None:
        self.oracle = oracle
        self.patience = patience
        self.say = say
        self._ended = threading.Event()

    def __enter__(self) -> Watch:
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()

    def _look(self) -> None:
        is_alone = False
        while not self._ended.wait(min(5.0, self.patience / 4)):
            for name in self.oracle.give_up_on_lost_workers(self.patience):
                self.say(f"Worker {name} gave no sign for {self.patience:g} s; its trial is run again by another.")
            was_alone, is_alone = is_alone, not self.oracle.tuner_ids and not self.oracle.has_ended
            if is_alone and not was_alone:
                self.say("Waiting for workers: kresp3d tune --worker NAME --chief HOST:PORT, with the same --config.")

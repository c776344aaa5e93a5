"""What happened in a sweep, one line of JSON for each event: what `--resume` goes on from and the report is made of.

keras-tuner writes its own state too, but a grid search forgets its place when that is read back, and a kill between
two of its files loses a trial. An oracle's choices follow from its seed and from what it was told in which order, so
the sweep keeps that instead, and tells it again to a new oracle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from kresp3d.system.errors import KrespError
from kresp3d.system.files import append


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    `done`: trained and measured. `stopped`: ended early, since it was no better than the others. `failed`: `reason`
    says why. `lost`: its worker is gone, and it is to be run again.
    """

    status: Literal["done", "stopped", "failed", "lost"]
    scores: tuple[float, ...] = ()
    """Of each training: video top-1 on the validation videos, or of one that was ended early its best clip top-1."""
    epochs: int = 0
    """The epoch that the last training reached."""
    seconds: float = 0.0
    reason: str = ""

    @property
    def score(self) -> float | None:
        """The mean over the seeds."""
        return fmean(self.scores) if self.scores else None

    @property
    def spread(self) -> float | None:
        """The standard deviation over the seeds, of two or more."""
        return stdev(self.scores) if len(self.scores) > 1 else None

    def to_json(self) -> str:
        """Plain text, which also travels from a worker to the chief."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "scores": tuple(values["scores"])})


@dataclass(frozen=True)
class Begun:
    """A trial was given to a worker."""

    trial: str
    worker: str
    values: Mapping[str, Any]
    """As keras-tuner has them."""


@dataclass(frozen=True)
class Ended:
    """A trial ended."""

    trial: str
    outcome: Outcome


@dataclass
class TrialRecord:
    """All that is known of one trial."""

    trial: str
    worker: str
    values: Mapping[str, Any]
    outcome: Outcome | None = None
    """`None` while it runs."""


@dataclass
class Journal:
    """The events of a sweep, in order. Each is on the disk before `append` returns; reading changes nothing.

    Args:
        path: `journal.jsonl`; made with the first event.

    Raises:
        KrespError: If the file is there and is no journal.
    """

    path: Path
    events: list[Begun | Ended] = field(init=False)
    _half_from: int | None = field(init=False, default=None)
    """Where half a line begins, if there is one."""

    def __post_init__(self) -> None:
        data = self.path.read_bytes() if self.path.is_file() else b""
        # What follows the last end of line was being written when the process was killed, or is so now by another one.
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            self._half_from = len(whole)
        try:
            self.events = [_event(json.loads(line)) for line in whole.splitlines()]
        except (ValueError, KeyError, TypeError) as error:
            raise KrespError(f"{self.path} is damaged ({error}); begin anew by --overwrite") from None

    def append(self, event: Begun | Ended) -> None:
        """Write an event; for whoever holds the sweep's lock."""
        if self._half_from is not None:
            # Only on a disk: in an object store there are no halves.
            os.truncate(self.path, self._half_from)
            self._half_from = None
        text = json.dumps({"event": type(event).__name__.lower(), **asdict(event)})
        # On a full disk, half a line must not stand before the next one.
        append(self.path, text.encode() + b"\n")
        self.events.append(event)

    def trials(self) -> list[TrialRecord]:
        """The trials, in the order in which they were first begun."""
        records: dict[str, TrialRecord] = {}
        for event in self.events:
            if isinstance(event, Begun):
                # A trial that was lost keeps its place.
                records[event.trial] = TrialRecord(event.trial, event.worker, event.values)
            else:
                records[event.trial].outcome = event.outcome
        return list(records.values())


def _event(values: dict[str, Any]) -> Begun | Ended:
    if values.pop("event") == "begun":
        return Begun(**values)
    outcome = values["outcome"]
    return Ended(values["trial"], Outcome(**{**outcome, "scores": tuple(outcome["scores"])}))

"""What makes the figures of an evaluation mean less than they seem to: said before them, and in the report."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from kresp3d.datasets.splits import count
from kresp3d.records.index import read_index
from kresp3d.runs.run_folder import RunFolder, code_digest, package_versions
from kresp3d.system.errors import KrespError


def doubts(run: RunFolder, split: str, *, trained_in: RunFolder | None) -> list[str]:
    """Sentences for a person; none if all is as it should be.

    Args:
        run: The run whose videos are used.
        split: Which of them.
        trained_in: The run that trained the network, if it is known.
    """
    found = []
    own = is_own(run, trained_in)
    if own and split == "train":
        found.append("the network was trained on these videos: the figures say how well it knows them, not new ones")
    elif own and split == "validation" and run.config.training.keep == "best":
        found.append("the epoch that is kept was chosen by these videos: on new ones the figures would be lower")
    elif trained_in is not None and not own:
        known = {name for name, of in trained_in.videos().items() if of == "train"}
        names = [name for name, of in run.videos().items() if of == split]
        shared = [name for name in names if name in known]
        if shared:
            found.append(
                f"{len(shared)} of these {count(len(names), 'video')}, such as {shared[0]}, were among those that the "
                "network was trained on: the figures say little of new ones"
            )
    return found + _changed_videos(run) + ([] if trained_in is None else changed_code(trained_in))


def known_names(names: Sequence[str], trained_in: RunFolder) -> list[str]:
    """Whether videos from anywhere may be some that a network was trained on, which their names alone can tell.

    Args:
        names: Their paths below the folder that they were found in.
        trained_in: The run that trained the network.
    """
    used = ("train", "validation") if trained_in.config.training.keep == "best" else ("train",)
    known = {name for name, of in trained_in.videos().items() if of in used}
    shared = [name for name in names if name in known]
    if not shared:
        return []
    return [
        f"{len(shared)} of these {count(len(names), 'video')}, such as {shared[0]}, have the names of videos that the "
        "network was trained on or chosen by: if they are the same, the figures say little of new ones"
    ]


def is_own(run: RunFolder, trained_in: RunFolder | None) -> bool:
    """Whether the run whose videos are used trained the network."""
    return trained_in is not None and trained_in.path.resolve() == run.path.resolve()


def _changed_videos(run: RunFolder) -> list[str]:
    """Whether the videos are no longer those of the training."""
    with contextlib.suppress(KrespError):  # that records are gone is said where they are read
        now = read_index(run.records_folder).index.get("fingerprint")
        if run.environment.get("fingerprint") not in (None, now):
            return [
                f"the videos or their settings in {run.records_folder} have changed since the training: the figures "
                "may not be comparable with earlier ones"
            ]
    return []


def changed_code(trained_in: RunFolder) -> list[str]:
    """Which code is no longer that of the training."""
    found = []
    environment = trained_in.environment
    if environment.get("code") not in (None, code_digest()):
        found.append(f"kresp3d's code has changed since the training, by version {environment['kresp3d']}")
    packages = package_versions()
    changed = [
        f"{name} {version} (now {packages[name]})"
        for name, version in environment["packages"].items()
        if name in ("tensorflow", "keras") and packages.get(name) != version
    ]
    if changed:
        found.append(f"the network was trained with {' and '.join(changed)}")
    return found

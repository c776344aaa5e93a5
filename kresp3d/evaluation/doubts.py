"""What makes the figures of an evaluation mean less than they seem to: said before them, and in the report."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from kresp3d.datasets.copies import copies_of
from kresp3d.datasets.splits import count, shorten
from kresp3d.evaluation.metrics import Evaluation
from kresp3d.records.index import Records, read_index
from kresp3d.runs.run_folder import OVERWRITE, RunFolder, code_digest, package_versions
from kresp3d.system.errors import KrespError
from kresp3d.system.storage import is_remote


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
    if trained_in is not None and not (own and split == "train"):
        names = [name for name, of in run.videos().items() if of == split]
        found += seen_in_training(names, video_files(run, [split]), trained_in, chosen_by=not own)
    return found + _changed_videos(run) + ([] if trained_in is None else changed_code(trained_in))


def seen_in_training(
    names: Sequence[str], files: Mapping[str, Path], trained_in: RunFolder, *, chosen_by: bool = True
) -> list[str]:
    """Whether videos are some that a network was trained on, by the content of their files and by their names.

    Args:
        names: Their paths below the folder that they were found in.
        files: The files of those that are there, by name.
        trained_in: The run that trained the network.
        chosen_by: Whether validation videos count too, where the kept epoch was chosen by them.
    """
    used = ("train", "validation") if chosen_by and trained_in.config.training.keep == "best" else ("train",)
    what = "trained on or chosen by" if len(used) > 1 else "trained on"
    known = {name for name, of in trained_in.videos().items() if of in used}
    copies = copies_of(files, video_files(trained_in, used))
    shared = [name for name in names if name in known and name not in copies]
    total, found = count(len(names), "video"), []
    if copies:
        name, original = next(iter(copies.items()))
        which = name if name == original else f"{name} ({original})"
        found.append(
            f"{len(copies)} of these {total}, such as {which}, have the content of videos that the network was {what}: "
            "the figures say little of new ones"
        )
    if shared:
        found.append(
            f"{len(shared)} of these {total}, such as {shared[0]}, have the names of videos that the network was "
            f"{what}: if they are the same, the figures say little of new ones"
        )
    return found


def video_files(run: RunFolder, splits: Collection[str]) -> dict[str, Path]:
    """The files that a run's videos of some splits were prepared from, by name, as far as they are still there."""
    source = run.config.data.videos
    with contextlib.suppress(KrespError):
        source = read_index(run.records_folder).index.get("source", source)
    if is_remote(source):
        return {}
    root = Path(source).expanduser()
    root = root.parent if root.suffix.lower() == ".csv" else root
    files = {name: root / name for name, split in run.videos().items() if split in splits}
    return {name: file for name, file in files.items() if file.is_file()}


def absent_classes(evaluation: Evaluation) -> list[str]:
    """Whether there are classes that no measured video is of."""
    absent = [row.name for row in evaluation.per_class if not row.videos]
    if not absent:
        return []
    return [
        f"no video is of {len(absent)} of the {len(evaluation.classes)} classes ({shorten(absent)}): the figures say "
        "nothing of how well these are recognised"
    ]


def is_own(run: RunFolder, trained_in: RunFolder | None) -> bool:
    """Whether the run whose videos are used trained the network."""
    return trained_in is not None and trained_in.path.resolve() == run.path.resolve()


def changes_since(run: RunFolder, records: Records) -> list[str]:
    """What has changed of a run's videos since its training began, for one that goes on.

    Args:
        run: The run.
        records: Its videos as they are now.
    """
    if run.environment.get("fingerprint") in (None, records.index.get("fingerprint")):
        return []
    labels = {video.name: video.label for video in records.videos}
    changed = [(name, old) for name, old in run.classes_of_videos().items() if labels.get(name, old) != old]
    found = [f"the videos or their settings have changed since the training of {run.path} began: it goes on with them"]
    if changed:
        name, old = changed[0]
        found.append(
            f"{count(len(changed), 'video')} of {run.path} changed class since its training began, such as {name} from "
            f"'{old}' to '{labels[name]}': what was learned before is of the old ones; to learn the new ones alone, "
            f"begin anew by {OVERWRITE}"
        )
    return found


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

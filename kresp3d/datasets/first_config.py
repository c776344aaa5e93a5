"""A first configuration for a folder of videos: what is there, and the keys that people change first."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import yaml

from kresp3d.config.schema import SYNTHETIC, Config, Overrides, load_config, override_config
from kresp3d.datasets.auto_split import split_data
from kresp3d.datasets.catalog import Catalog, catalog_of, read_entries
from kresp3d.datasets.groups import suggest_group_regex
from kresp3d.datasets.readers.folder_tree import find_videos
from kresp3d.datasets.readers.official_lists import find_lists
from kresp3d.datasets.splits import SPLITS, count, shorten
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.text import printable

#: What the configuration extends.
BASE = "folder"
#: Classes, or groups, that a comment lists.
_SHOWN = 8
#: In the names of classes that a mirrored clip would be of another one of.
_SIDES = re.compile(r"(?i:(?<![a-z])(?:left|right)(?![a-z]))|Left|Right")


@dataclass(frozen=True)
class Survey:
    """What is known of a folder of videos, or of a CSV file, without opening one."""

    config: Config
    """The configuration that the text of `first_config` makes."""
    catalog: Catalog
    format: Literal["folder", "csv", "ucf101", "hmdb51"]
    has_splits: bool
    """Whether the data says which videos are for what."""
    group_regex: str | None
    """What was found to name the groups, where the data does not."""

    @property
    def videos(self) -> Counter[str]:
        """Videos of each class."""
        return Counter(video.label for video in self.catalog.videos)

    @property
    def groups(self) -> Counter[str]:
        """Videos of each group."""
        return Counter(video.group for video in self.catalog.videos if video.group is not None)

    @property
    def splits(self) -> str:
        """How many videos are for what."""
        counts = Counter(video.split for video in self.catalog.videos)
        return ", ".join(f"{counts[split]} {split}" for split in SPLITS)


def survey(videos: Path, overrides: Overrides = ()) -> Survey:
    """Look at a folder of videos or a CSV file; opens no video.

    Args:
        videos: The folder or file.
        overrides: Laid over the configuration that is found.

    Raises:
        UsageError: If there is neither, or a CSV has a wrong line.
        KrespError: If there are no videos, or nothing can be trained on them, as `load_catalog` says.
    """
    if not videos.exists():
        raise UsageError(f"expected a folder of videos or a CSV file, but {videos} does not exist")
    kind = _format(videos)
    # Without a folder before it, the name would stand for the embedded dataset.
    place = f"./{videos}" if str(videos) == SYNTHETIC else str(videos)
    values: dict[str, object] = {"name": _name(videos), "data.videos": place, "data.format": kind}

    def made(more: Mapping[str, object] = MappingProxyType({})) -> Config:
        return override_config(load_config(BASE, {**values, **more}), overrides, "the options")

    entries = read_entries(made().data)
    if any(_SIDES.search(entry.label) for entry in entries):
        values["clip.augment.flip"] = False
    config = made()
    expression = None if any(entry.group for entry in entries) else suggest_group_regex(entries)
    has_splits = any(entry.split is not None for entry in entries)
    if expression is not None:
        grouped = made({"data.group_regex": expression})
        try:
            return Survey(
                grouped, catalog_of(entries, split_data(grouped, entries), videos), kind, has_splits, expression
            )
        except KrespError:
            # The pattern means something else: its groups are on several sides of the data's own split.
            if not has_splits:
                raise
    return Survey(config, catalog_of(entries, split_data(config, entries), videos), kind, has_splits, None)


def _format(videos: Path) -> Literal["folder", "csv", "ucf101", "hmdb51"]:
    if videos.is_file():
        if videos.suffix.lower() != ".csv":
            raise UsageError(f"expected a folder of videos or a .csv file, received {videos}")
        return "csv"
    lists = find_lists(videos, find_videos(videos), 1, None)
    return "folder" if lists is None else lists.kind


def _name(videos: Path) -> str:
    resolved = videos.resolve()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", resolved.stem if resolved.is_file() else resolved.name)
    return name.lstrip("-._") or "mine"


def first_config(found: Survey, file: Path) -> str:
    """Write the text of a configuration, with comments.

    Args:
        found: What is there.
        file: Where the text will be, for the commands in its head.
    """
    data, name = found.config.data, found.config.name
    total, classes = len(found.catalog.videos), len(found.catalog.classes)
    with_file = f"--config {shlex.quote(str(file))}"
    head = [
        f"{count(total, 'video')} of {count(classes, 'class', 'classes')} in {data.videos}.",
        "",
        f"  kresp3d data check {with_file}    # which of them cannot be decoded, and why",
        f"  kresp3d train {with_file}         # prepare them, train into runs/{name}, and measure",
        f"  kresp3d evaluate runs/{name} --videos FOLDER   # measure on others that were labelled later",
        f"  kresp3d predict runs/{name} VIDEO              # name the action in a video",
        "",
        "`kresp3d config show base` explains all other keys, and --set KEY=VALUE overrides any of them.",
    ]
    # A path may have any sign in it, and a comment ends with its line.
    lines = [f"# {printable(line)}".rstrip() for line in head]
    lines += [f"extends: {BASE}", f"name: {_scalar(name)}", "", "data:"]
    lines += [f"  videos: {_scalar(data.videos)}", f"  format: {found.format}{_MEANING[found.format]}"]
    lines += _classes(found) + _groups(found) + _splits(found) + _changed_first(found.config)
    if not found.config.clip.augment.flip:
        lines += ["", "clip:", "  augment:"]
        lines += ["    flip: false         # names of classes say left or right, so no clip is mirrored"]
    return "\n".join(lines) + "\n"


_MEANING = {
    "folder": "        # one folder of videos for each class",
    "csv": "           # columns path and label, perhaps group and split",
    "ucf101": "        # with its official lists; data.split chooses one of the three",
    "hmdb51": "        # with its official lists; data.split chooses one of the three",
}


def _changed_first(config: Config) -> list[str]:
    """The keys that people change first, with their values; those in comments are settled by the videos."""
    training, model = config.training, config.model
    rows = [
        ("minutes", training.minutes, "most that the training may take; more give better results, null is no limit"),
        ("# epochs", training.epochs, "or say how many, whatever time they take"),
        ("# batch_size", training.batch_size, "clips in a step; fewer where memory runs out"),
        ("size", model.size, "side of the picture that the network sees; small motions ask for more, such as 112"),
        ("# frames", model.frames, "of a clip; by default it is settled by the length of the videos"),
        ("# width", model.width, "channels; with a GPU or many cores take 32 or 64"),
    ]
    lines = [f"{f'  {key}: {value:g}':<24}# {comment}" for key, value, comment in rows]
    return ["", "training:", *lines[:3], "", "model:", *lines[3:]]


def _classes(found: Survey) -> list[str]:
    named = [f"{label} ({number})" for label, number in sorted(found.videos.items())]
    shown = ", ".join(named[:_SHOWN]) + (f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else "")
    some = yaml.safe_dump(sorted(found.videos)[:2], default_flow_style=True, allow_unicode=True, width=1000).strip()
    return [f"  # Classes, and the videos of each: {shown}.", f"  # classes: {some}   # to use some of them alone"]


def _groups(found: Survey) -> list[str]:
    """What is said of persons and recordings."""
    groups = found.groups
    named = [f"{group} ({number})" for group, number in sorted(groups.items())[:_SHOWN]]
    shown = ", ".join(named) + (f" and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else "")
    why = [
        "  # A group, a person or a recording, stays on one side of the split: on people that the network has seen,",
        "  # results are too good.",
    ]
    if found.group_regex is not None:
        return [
            *why,
            f"  # This pattern in the names gives {count(len(groups), 'group')}: {shown}.",
            "  # If that is neither the person nor the recording, write a better one or leave it out.",
            f"  group_regex: {_scalar(found.group_regex)}",
        ]
    if groups:
        return [*why, f"  # The data names {len(groups)} groups: {shown}."]
    return [
        *why,
        "  # The names show none. If several videos are of one person, name it: the part of the name in parentheses.",
        r"  # group_regex: '_(p\d+)_'",
    ]


def _splits(found: Survey) -> list[str]:
    where = "by the data" if found.has_splits else "by groups" if found.groups else "by chance, video by video"
    return [
        f"  # The split, {where}: {found.splits}.",
        "  # validation: 0.15    # share of the training groups set aside; by default none where there are few videos",
        "  test: 0.2             # share of all groups set aside, where the data has no split",
    ]


def _scalar(text: str) -> str:
    """A text as YAML has it in one line."""
    style = None if printable(text) == text else '"'
    return yaml.safe_dump(text, allow_unicode=True, width=10**6, default_style=style).removesuffix("...\n").strip()


def told(found: Survey) -> str:
    """Say in a few lines what was found."""
    videos = found.videos
    lines = [
        f"{count(videos.total(), 'video')} of {count(len(videos), 'class', 'classes')}: {shorten(sorted(videos))}.",
        f"Split: {found.splits}.",
    ]
    if found.groups:
        source = f"by data.group_regex '{found.group_regex}'" if found.group_regex else "that the data names"
        lines.append(f"{count(len(found.groups), 'group')} {source}: {shorten(sorted(found.groups))}.")
    else:
        lines.append("No groups: if several videos show one person, name it by data.group_regex.")
    return "\n".join(lines)

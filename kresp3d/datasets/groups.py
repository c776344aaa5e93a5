"""Finding out which part of the videos' names says who is in them, or which recording they were cut from."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from kresp3d.datasets.splits import Entry

#: Fewest groups that can be on all three sides of a split.
FEWEST = 3

#: Regular expressions on a video's relative path, the most telling first; their first group is the video's.
_PERSONS = ("person", "subject", "subj", "actor", "participant", "performer", "player")
_NUMBERED = (
    *(rf"(?i)({word}[_-]?\d+)" for word in _PERSONS),
    # As in `walk_p03_2`, `s01_walk`, or `S001C002P003R001A004` of NTU RGB+D, where P is the performer.
    *(rf"(?i)(?<![a-z])({letter}\d+)" for letter in "psgu"),
    *(rf"(?i)({word}[_-]?\d+)" for word in ("recording", "session", "scene")),
)
#: The same, of words that may say anything: a folder within the class's, or the first word of the file's name.
_WORDS = (r"^[^/]+/([^/]+)/", r"^(?:[^/]+/)*([^/_. -]+)[_. -][^/]*[_. -]", r"^(?:[^/]+/)*([^/_. -]+)[_ -]")


def suggest_group_regex(entries: Sequence[Entry]) -> str | None:
    """Look for a pattern in names such as `person01_…`, `walk_p03_2` or `anna_walk`.

    A pattern is one only if it fits all videos, gives at least three groups of which one has several videos, and says
    something else than the class. A plain word must be seen in several classes.

    Returns:
        A regular expression for `data.group_regex`, or `None` where no pattern is found.
    """
    for pattern in (*_NUMBERED, *_WORDS):
        groups = _groups(pattern, entries)
        if groups is not None and _tells_groups(groups, entries, is_word=pattern in _WORDS):
            return pattern
    return None


def _groups(pattern: str, entries: Sequence[Entry]) -> list[str] | None:
    """The group of each video; `None` if the pattern does not fit one."""
    found = [re.search(pattern, entry.name) for entry in entries]
    return [match[1] for match in found if match] if all(found) else None


def _tells_groups(groups: Sequence[str], entries: Sequence[Entry], *, is_word: bool) -> bool:
    if not FEWEST <= len(Counter(groups)) < len(entries):
        return False
    classes: dict[str, set[str]] = defaultdict(set)
    for group, entry in zip(groups, entries, strict=True):
        classes[group].add(entry.label)
    several = sum(len(labels) > 1 for labels in classes.values())
    # A part of the name that goes with the class is another name for it.
    return 2 * several >= len(classes) if is_word else several > 0 or len(classes) > len({e.label for e in entries})

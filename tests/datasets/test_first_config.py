"""The first configuration for a folder of videos, of empty files: none is opened."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kresp3d.config.schema import load_config
from kresp3d.datasets.auto_split import split_data
from kresp3d.datasets.catalog import load_catalog, read_entries
from kresp3d.datasets.first_config import first_config, survey, told
from kresp3d.datasets.source import resolve_videos
from kresp3d.system.errors import KrespError, UsageError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def write(videos, file):
    found = survey(videos)
    file.write_text(first_config(found, file))
    config = load_config(file)
    # What was looked at is what the file says.
    assert config == found.config
    assert load_catalog(split_data(config, read_entries(config.data))) == found.catalog
    return found, config, file.read_text()


def test_a_folder_with_persons_in_the_names(tmp_path):
    names = [f"{c}/{c}_p{n}_{k}.mp4" for c in ("walk", "jump") for n in range(1, 6) for k in (1, 2)]
    found, config, text = write(touch(tmp_path / "My videos", *names), tmp_path / "mine.yaml")
    assert (config.name, config.data.format) == ("My-videos", "folder")
    assert config.data.group_regex == found.group_regex == r"(?i)(?<![a-z])(p\d+)"
    assert found.groups == {f"p{n}": 4 for n in range(1, 6)} and found.videos == {"walk": 10, "jump": 10}
    # Nobody is on two sides.
    sides = Counter(group for group, _ in {(video.group, video.split) for video in found.catalog.videos})
    assert set(sides.values()) == {1}
    assert "20 videos of 2 classes" in text and "5 groups: p1 (4), p2 (4)" in text and "jump (10), walk (10)" in text
    # It needs no clone, and plans by the videos, as folder.yaml does.
    assert "\nextends: folder\n" in text and "training.epochs" in config.auto
    assert "5 groups by data.group_regex" in told(found)


def test_a_folder_without_groups_shows_how_to_name_them(tmp_path):
    names = [f"{c}/{n}.mp4" for c in ("walk", "jump") for n in range(6)]
    found, config, text = write(touch(tmp_path / "videos", *names), tmp_path / "mine.yaml")
    assert config.data.group_regex is None and found.groups == {}
    assert "# group_regex: '_(p\\d+)_'" in text and "by chance, video by video" in text and "No groups" in told(found)
    # The lines that are commented out are right once the sign is gone, each by itself.
    keys = ("classes", "group_regex", "epochs", "batch_size", "frames", "width")
    for key in keys:
        assert text.count(f"\n  # {key}: ") == 1
        text = text.replace(f"\n  # {key}: ", f"\n  {key}: ")
    (tmp_path / "all.yaml").write_text(text)
    config = load_config(tmp_path / "all.yaml")
    assert config.data.classes == ("jump", "walk") and config.data.group_regex == r"_(p\d+)_"
    assert "training.epochs" not in config.auto and config.model.width == 16


def test_a_table_with_splits_and_groups(tmp_path):
    folder = touch(tmp_path / "v", *(f"{n}.mp4" for n in range(8)))
    sides = ("train", "train", "test", "validation")
    rows = "".join(f"{n}.mp4,{'walk' if n % 2 else 'jump'},person {n // 2},{sides[n // 2]}\n" for n in range(8))
    (folder / "mine.csv").write_text("path,label,group,split\n" + rows)
    found, config, text = write(folder / "mine.csv", tmp_path / "mine.yaml")
    assert (config.data.format, config.name, found.group_regex) == ("csv", "mine", None)
    assert "The data names 4 groups: person 0 (2)" in text and "by the data: 4 train, 2 validation, 2 test" in text


def test_official_lists_are_told(tmp_path):
    names = [f"{c}/v_{c}_g{g:02}_c01.avi" for c in ("Walk", "Jump") for g in (1, 2, 3, 4)]
    folder = touch(tmp_path / "UCF", *names)
    (folder / "trainlist01.txt").write_text("".join(f"{n} 1\n" for n in names if "g01" not in n))
    (folder / "testlist01.txt").write_text("".join(f"{n}\n" for n in names if "g01" in n))
    found, config, _ = write(folder, tmp_path / "mine.yaml")
    assert config.data.format == "ucf101" and len(found.catalog.split("test")) == 2


def test_a_pattern_that_the_datas_own_split_contradicts_is_left_out(tmp_path):
    names = [f"{side}/{c}/s{n}_{c}.mp4" for side in ("train", "val", "test") for c in ("a", "b") for n in (1, 2, 3)]
    found, _, text = write(touch(tmp_path / "videos", *names), tmp_path / "mine.yaml")
    assert found.group_regex is None and "by the data: 6 train, 6 validation, 6 test" in text


@pytest.mark.parametrize(
    ("classes", "flips"),
    [
        (("turn left", "walk"), False),
        (("swipe_Right", "walk"), False),
        (("TurnLeft", "walk"), False),
        (("upright", "bright"), True),
    ],
)
def test_left_and_right_are_not_mirrored(tmp_path, classes, flips):
    names = [f"{c}/{n}.mp4" for c in classes for n in range(6)]
    _, config, _ = write(touch(tmp_path / "videos", *names), tmp_path / "mine.yaml")
    assert config.clip.augment.flip is flips


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_names_of_classes_make_a_configuration(tmp_path_factory, names):
    names = {name for name in ["walk", "jump", *names] if not name.startswith(".") and len(name.encode()) < 200}
    folder = tmp_path_factory.mktemp("names")
    for name in names:
        touch(folder / "videos", *(f"{name}/{n}.mp4" for n in range(5)))
    try:
        found = survey(folder / "videos")
    except KrespError as error:
        # Two that look alike when they are shown.
        assert "shown as" in str(error) or "classes" in str(error)
        return
    (folder / "mine.yaml").write_text(first_config(found, Path("mine.yaml")), encoding="utf-8")
    assert load_config(folder / "mine.yaml") == found.config


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        ([], KrespError, "no videos"),
        (["walk/a.mp4"], KrespError, "at least two classes"),
        (["a.mp4"], KrespError, "no class folders"),
    ],
)
def test_what_cannot_be_trained_on_gets_a_sentence(tmp_path, names, error, words):
    (tmp_path / "videos").mkdir()
    with pytest.raises(error, match=words):
        survey(touch(tmp_path / "videos", *names))
    with pytest.raises(UsageError, match="does not exist"):
        survey(tmp_path / "nothing")
    with pytest.raises(UsageError, match="received"):
        survey(touch(tmp_path, "a.txt") / "a.txt")


@pytest.mark.parametrize("name", ["new\nline", 'it\'s: "#1"', "null", "ünï", "tab\there", "{a: 1}", "\u2028"])
def test_a_folder_of_any_name_gives_a_file_that_can_be_read(tmp_path, name):
    videos = touch(tmp_path / name, *(f"{c}/{n}.mp4" for c in ("walk", "jump") for n in range(6)))
    assert write(videos, tmp_path / "mine.yaml")[1].data.videos == str(videos)


def test_a_folder_with_the_name_of_the_embedded_dataset_is_not_that(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "synthetic", *(f"{c}/{n}.mp4" for c in ("walk", "jump") for n in range(6)))
    found, config, _ = write(Path("synthetic"), tmp_path / "mine.yaml")
    assert config.data.videos == "./synthetic" and found.videos == {"walk": 6, "jump": 6}
    assert resolve_videos(config.data).videos == "./synthetic"

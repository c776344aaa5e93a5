from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kresp3d.config.schema import DataConfig
from kresp3d.datasets.catalog import Catalog, Video, load_catalog
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.video.decode import iter_frames


def load(videos: Path, **keys: object) -> Catalog:
    return load_catalog(DataConfig.model_validate({"videos": str(videos), **keys}))


def people_tree(root: Path, classes: str = "abc", people: int = 10, clips: int = 2) -> Path:
    for label in classes:
        for person in range(people):
            for clip in range(clips):
                path = root / label / f"{label}_p{person:02d}_{clip}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    return root


def ucf_tree(root: Path, classes: tuple[str, ...] = ("Walk", "Run"), suffix: str = ".mp4") -> Path:
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for label in classes:
        for group in range(1, 26):
            for clip in (1, 2):
                name = f"{label}/v_{label}_g{group:02d}_c{clip:02d}"
                (root / label).mkdir(parents=True, exist_ok=True)
                (root / f"{name}{suffix}").touch()
                lists["test" if group <= 7 else "train"].append(f"{name}.avi")
    (root.parent / "ucfTrainTestlist").mkdir(exist_ok=True)
    for side, names in lists.items():
        (root.parent / "ucfTrainTestlist" / f"{side}list01.txt").write_text("\n".join(names))
    return root


def groups(catalog: Catalog, split: str) -> set[str | None]:
    return {video.group for video in catalog.videos if video.split == split}


def test_a_tree_of_real_videos_is_split_and_decodes(tmp_path: Path, make_tree: Callable[..., Path]) -> None:
    root = make_tree(tmp_path / "videos", ["run", "walk"], 5, frames=4)
    catalog = load(root, group_regex=r"_(\d)\.mp4")
    assert catalog.classes == ("run", "walk")
    assert [v.name for v in catalog.videos] == [f"{c}/{c}_{i}.mp4" for c in ("run", "walk") for i in range(5)]
    assert [len(catalog.split(s)) for s in ("train", "validation", "test")] == [6, 2, 2]
    assert all(len(list(iter_frames(v.path, fps=25, short_side=None))) == 4 for v in catalog.videos)


def test_a_tree_with_groups_is_split_by_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalog = load(people_tree(tmp_path), group_regex=r"_(p\d+)_", validation=0.25, test=0.2)
    assert catalog.classes == ("a", "b", "c")
    assert [len(groups(catalog, s)) for s in ("train", "validation", "test")] == [6, 2, 2]
    assert groups(catalog, "train") | groups(catalog, "validation") | groups(catalog, "test") == {
        f"p{i:02d}" for i in range(10)
    }
    assert caplog.text == ""
    other = load(tmp_path, group_regex=r"_(p\d+)_", split_seed=1)
    assert groups(other, "test") != groups(catalog, "test")


def test_a_tree_without_groups_is_split_by_video_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = load(people_tree(tmp_path))
    assert [len(catalog.split(s)) for s in ("train", "validation", "test")] == [41, 7, 12]
    assert "made by video" in caplog.text


@pytest.mark.parametrize(
    ("expression", "error", "message"),
    [
        ("(p", UsageError, "not a regular expression"),
        (r"p\d+", UsageError, "no group in parentheses"),
        (r"(p0\d)_1", KrespError, "does not fit 30 videos of 60, such as a/a_p00_0.mp4"),
    ],
)
def test_wrong_group_expressions_are_refused(
    expression: str, error: type[KrespError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        load(people_tree(tmp_path), group_regex=expression)


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_ucf101_is_known_by_its_lists_and_validated_on_whole_training_groups(suffix: str, tmp_path: Path) -> None:
    catalog = load(ucf_tree(tmp_path / "UCF-101", suffix=suffix))
    assert groups(catalog, "test") == {f"g{i:02d}" for i in range(1, 8)}
    assert len(groups(catalog, "validation")) == 3
    assert len(groups(catalog, "train")) == 15
    assert groups(catalog, "train").isdisjoint(groups(catalog, "validation"))
    assert {v.label for v in catalog.split("validation")} == {"Run", "Walk"}


def test_ucf101_without_lists_still_has_groups(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalog = load(ucf_tree(tmp_path / "UCF-101"), format="folder")
    assert [len(groups(catalog, s)) for s in ("train", "validation", "test")] == [17, 3, 5]
    assert caplog.text == ""


def test_hmdb51_has_no_groups(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = people_tree(tmp_path / "hmdb51_org")
    lists = tmp_path / "testTrainMulti_7030_splits"
    lists.mkdir()
    for label in "abc":
        names = sorted(p.name for p in (root / label).iterdir())
        (lists / f"{label}_test_split1.txt").write_text(
            "".join(f"{n} {0 if i < 2 else 1 if i < 14 else 2} \n" for i, n in enumerate(names))
        )
    catalog = load(root)
    assert [len(catalog.split(s)) for s in ("train", "validation", "test")] == [30, 6, 18]
    assert {v.group for v in catalog.videos} == {None}
    assert "6 videos not in the official split left out" in caplog.text
    assert "the validation split is made by video" in caplog.text


def test_named_lists_are_used(tmp_path: Path) -> None:
    root = ucf_tree(tmp_path / "here" / "UCF-101")
    (tmp_path / "here" / "ucfTrainTestlist").rename(tmp_path / "lists")
    assert len(groups(load(root, splits=str(tmp_path / "lists")), "test")) == 7
    with pytest.raises(UsageError, match=r"name their folder in data.splits"):
        load(root, format="ucf101")
    with pytest.raises(UsageError, match=r"data.splits: expected a folder with trainlist02.txt"):
        load(root, splits=str(tmp_path / "lists"), split=2)


def test_a_csv_is_known_by_its_ending(tmp_path: Path) -> None:
    people_tree(tmp_path, classes="ab", people=2, clips=1)
    path = tmp_path / "videos.csv"
    path.write_text(
        "path,label,group,split,other\n"
        "a/a_p00_0.mp4,x,g1,train,test\nb/b_p00_0.mp4,y,g1,train,test\n"
        "a/a_p01_0.mp4,x,g2,test,train\nb/b_p01_0.mp4,y,g2,test,train\n"
    )
    catalog = load(path, validation=0)
    assert catalog.classes == ("x", "y")
    assert catalog.videos[0] == Video(tmp_path / "a/a_p00_0.mp4", "a/a_p00_0.mp4", "x", "g1", "train")
    assert groups(load(path, validation=0, split_column="other"), "train") == {"g2"}


def test_the_groups_of_a_csv_stand_above_names_like_ucf101s(tmp_path: Path) -> None:
    ucf_tree(tmp_path / "UCF-101")
    path = tmp_path / "UCF-101" / "videos.csv"
    names = [f"{c}/v_{c}_g01_c0{i}.mp4" for c in ("Walk", "Run") for i in (1, 2)]
    path.write_text("path,label,group\n" + "".join(f"{n},{n.split('/')[0]},p{n[-5]}\n" for n in names))
    assert {v.group for v in load(path).videos} == {"p1", "p2"}


def test_groups_on_two_sides_are_refused_unless_allowed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    people_tree(tmp_path, classes="ab", people=2, clips=1)
    path = tmp_path / "videos.csv"
    path.write_text(
        "path,label,group,split\na/a_p00_0.mp4,x,anna,train\nb/b_p00_0.mp4,y,ben,train\na/a_p01_0.mp4,x,anna,test\n"
    )
    with pytest.raises(KrespError, match=r"1 group on more than one side of the split: anna \(train, test\)"):
        load(path, validation=0)
    assert len(load(path, validation=0, allow_group_leak=True).videos) == 3
    assert "anna" in caplog.text


def test_groups_on_two_sides_of_a_tree_are_refused(tmp_path: Path) -> None:
    for name in ["train/a/p1_1", "train/b/p2_1", "test/a/p1_2"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.mp4").touch()
    with pytest.raises(KrespError, match=r"p1 \(train, test\)"):
        load(tmp_path, group_regex=r"/(p\d)_", validation=0)


def test_a_csv_inside_a_tree_is_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (people_tree(tmp_path) / "catalog.csv").write_text("path,label\n")
    load(tmp_path)
    assert "to use catalog.csv, name it in data.videos" in caplog.text


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"format": "csv"}, "data.format is csv, but .* is a folder"),
        ({"split_column": "split02"}, "data.split_column is for a CSV file"),
        ({"format": "folder", "splits": "lists"}, "data.splits is for the official lists"),
    ],
)
def test_keys_that_do_not_fit_a_folder_are_refused(keys: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        load(people_tree(tmp_path), **keys)


def test_keys_that_do_not_fit_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("path,label\n")
    (tmp_path / "v.mp4").touch()
    with pytest.raises(UsageError, match=r"data.format is ucf101, which is a folder"):
        load(tmp_path / "v.csv", format="ucf101")
    with pytest.raises(UsageError, match=r"data.splits is for the official lists"):
        load(tmp_path / "v.csv", splits="lists")
    with pytest.raises(UsageError, match=r"expected a folder of videos or a .csv file"):
        load(tmp_path / "v.mp4")
    with pytest.raises(UsageError, match="does not exist"):
        load(tmp_path / "no")


def test_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KrespError, match="at least two classes, found a"):
        load(people_tree(tmp_path, classes="a"))


def test_classes_keeps_the_named_ones_alone(tmp_path: Path) -> None:
    catalog = load(people_tree(tmp_path), group_regex=r"_(p\d+)_", classes=["c", "a"])
    assert catalog.classes == ("a", "c")
    assert {video.label for video in catalog.videos} == {"a", "c"}


def test_an_unknown_class_is_refused_with_the_nearest(tmp_path: Path) -> None:
    ucf_tree(tmp_path / "UCF-101")
    with pytest.raises(UsageError, match=r"there is no class 'Wakl' in .*; did you mean 'Walk'\?"):
        load(tmp_path / "UCF-101", classes=["Run", "Wakl"])


def touched_csv(folder: Path, rows: Sequence[tuple[str, str]]) -> DataConfig:
    """A CSV file of empty files with a label and a group each."""
    for number in range(len(rows)):
        (folder / f"{number}.mp4").touch()
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "group"))
        writer.writerows((f"{number}.mp4", *row) for number, row in enumerate(rows))
    return DataConfig(videos=str(folder / "table.csv"))


@pytest.mark.parametrize(
    ("one", "other"), [("Walk", "walk"), ("push ups", "push_ups"), ("u\u0308ben", "\u00fcben"), ("a  b", "a b")]
)
def test_classes_that_differ_in_writing_alone_are_warned_of(
    one: str, other: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kresp3d.datasets.catalog.logger.propagate", True)
    config = touched_csv(tmp_path, [(label, "") for label in (one, other, "run") for _ in range(3)])
    # They are two classes all the same.
    assert set(load_catalog(config).classes) == {one, other, "run"}
    assert "differ only in" in caplog.text and f"'{one}'" in caplog.text and f"'{other}'" in caplog.text
    assert "'run'" not in caplog.text


def test_classes_of_other_signs_are_not_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kresp3d.datasets.catalog.logger.propagate", True)
    load_catalog(touched_csv(tmp_path, [(label, "") for label in ("-5", "5", "a1", "a-1", "b") for _ in range(3)]))
    assert "differ only in" not in caplog.text


@pytest.mark.parametrize(("column", "kind"), [(0, "classes"), (1, "groups")])
def test_names_that_are_shown_alike_are_refused(column: int, kind: str, tmp_path: Path) -> None:
    texts = [("x\ty", "x\\ty", "z")[number % 3] for number in range(9)]
    rows = [(text, "g") if column == 0 else (f"c{number % 2}", text) for number, text in enumerate(texts)]
    with pytest.raises(KrespError, match=rf"two {kind} that are shown as x\\ty"):
        load_catalog(touched_csv(tmp_path, rows))

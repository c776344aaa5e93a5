from __future__ import annotations

from pathlib import Path

import pytest

from kresp3d.datasets.readers.csv_table import read_table
from kresp3d.system.errors import KrespError, UsageError


def table(folder: Path, text: str, videos: str = "a.mp4 b.mp4") -> Path:
    for name in videos.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    path = folder / "videos.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_read_relative_to_the_file(tmp_path: Path) -> None:
    entries = read_table(
        table(
            tmp_path,
            "\ufeffpath, label,group,split,seconds\n"
            "sub/../a.mp4,run,p1,Train,3\n\n b.mp4 ,walk,,,4\nc.mp4,walk,p2,VAL,5\n",
            "a.mp4 b.mp4 c.mp4",
        )
    )
    assert [(e.name, e.label, e.group, e.split) for e in entries] == [
        ("a.mp4", "run", "p1", "train"),
        ("b.mp4", "walk", None, None),
        ("c.mp4", "walk", "p2", "validation"),
    ]
    assert entries[1].path == tmp_path / "b.mp4"


def test_group_and_split_columns_may_be_missing(tmp_path: Path) -> None:
    (entry,) = read_table(table(tmp_path, "label,path\nrun,a.mp4\n"))
    assert (entry.group, entry.split) == (None, None)


def test_another_split_column_may_be_named(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label,split,split02\na.mp4,run,train,test\nb.mp4,run,test,train\n")
    assert [e.split for e in read_table(path)] == ["train", "test"]
    assert [e.split for e in read_table(path, "split02")] == ["test", "train"]
    with pytest.raises(UsageError, match="no column split03; found path, label, split, split02"):
        read_table(path, "split03")


def test_names_are_unique_for_paths_inside_and_outside(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    outside = tmp_path / "outside" / "a.mp4"
    outside.parent.mkdir()
    outside.touch()
    path = table(folder, f"path,label\na.mp4,run\n{outside},run\n{folder}/b.mp4,run\n")
    entries = read_table(path, allow_outside=True)
    assert [e.name for e in entries] == ["a.mp4", "../outside/a.mp4", "b.mp4"]
    with pytest.raises(UsageError, match=r"line 3: .*/outside/a.mp4 is outside .*allow_outside: true"):
        read_table(path)
    assert all(e.path.is_file() for e in entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path;label\na.mp4;run\n", "no column path, label; found path;label"),
        ("", "no column path, label; found no header"),
        ("path,group\na.mp4,p1\n", "no column label; found path, group"),
        ("path,label\na.mp4,run\nb.mp4,\n", "line 3: no label; the columns are path, label"),
        ("path,label\n,run\n", "line 2: no path"),
        ("path,label\na.mp4,run,p1\n", "line 2: more values than the 2 columns path, label"),
        (
            "path,label,split\na.mp4,run,eval\n",
            "line 2: split must be train, validation, test or empty, received 'eval'",
        ),
        ("path,label\na.mp4,run\nx/../a.mp4,walk\n", "line 3: a.mp4 is already in line 2"),
        ('path,label\n"a.mp4,run\n', "not a CSV file"),
    ],
)
def test_wrong_tables_are_refused_with_their_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_table(table(tmp_path, text))
    assert message in str(caught.value)
    assert "videos.csv" in str(caught.value)


def test_other_encodings_and_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "videos.csv"
    path.write_bytes("path,label\nä.mp4,run\n".encode("latin-1"))
    with pytest.raises(UsageError, match="UTF-8"):
        read_table(path)


def test_a_table_without_rows_or_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KrespError, match="lists no videos"):
        read_table(table(tmp_path, "path,label\n"))
    with pytest.raises(KrespError, match=r"none of its videos exists, such as .*no.mp4; paths are relative"):
        read_table(table(tmp_path, "path,label\nno.mp4,run\n"))


def test_some_missing_videos_stay_and_warn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = read_table(table(tmp_path, "path,label\na.mp4,run\nno.mp4,run\n"))
    assert len(entries) == 2
    assert "1 video not found: no.mp4" in caplog.text

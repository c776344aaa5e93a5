from __future__ import annotations

from pathlib import Path

import pytest

from kresp3d.datasets.readers.official_lists import find_lists, read_lists, read_official, require_lists
from kresp3d.system.errors import KrespError, UsageError

UCF_TRAIN = "Walk/v_Walk_g02_c01.avi 1\nHandstandPushups/v_HandStandPushups_g02_c01.avi 2\r\n\n"
UCF_TEST = "Walk/v_Walk_g01_c01.avi\nHandstandPushups/v_HandStandPushups_g01_c01.avi\n"
HMDB_TRAIN = "www.site.com_clap_u_nm_np1_fr_med_0 5\nA_man_with_a_hat_run_f_cm_np1_ba_med_1 12\n"
HMDB_TEST = "Free_Hugs_#2_(x)_clap_u_cm_np2_le_med_4 5\n"


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def ucf(folder: Path, number: int = 1) -> Path:
    return write(folder, **{f"trainlist0{number}": UCF_TRAIN, f"testlist0{number}": UCF_TEST})


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


def test_ucf101_lists_are_matched_by_class_and_stem(tmp_path: Path) -> None:
    lists = read_lists(ucf(tmp_path), 1)
    assert lists is not None
    assert lists.kind == "ucf101"
    assert len(lists.splits) == 4
    assert lists.find(Path("Walk/v_Walk_g02_c01.mp4")) == "train"
    assert lists.find(Path("UCF-101/HandStandPushups/v_HandstandPushups_g01_c01.webm")) == "test"
    assert lists.find(Path("Run/v_Walk_g02_c01.avi")) is None


def test_hmdb51_lists_are_matched_by_stem(tmp_path: Path) -> None:
    lists = read_lists(write(tmp_path, trainlist01=HMDB_TRAIN, testlist01=HMDB_TEST), 1)
    assert lists is not None
    assert lists.kind == "hmdb51"
    assert lists.find(Path("clap/www.site.com_clap_u_nm_np1_fr_med_0.avi")) == "train"
    assert lists.find(Path("clap/Free_Hugs_#2_(x)_clap_u_cm_np2_le_med_4.mp4")) == "test"
    assert lists.find(Path("run/other.avi")) is None


def test_hmdb51_lists_for_each_class_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path, clap_test_split2="a b.avi 1 \nc.avi 2 \nd.avi 0 \n", run_test_split2="a b.avi 2\n")
    lists = read_lists(folder, 2)
    assert lists is not None
    assert lists.splits == {("clap", "a b"): "train", ("clap", "c"): "test", ("run", "a b"): "test"}
    assert lists.find(Path("clap/a b.mp4")) == "train"
    assert lists.find(Path("run/a b.mp4")) == "test"
    assert read_lists(folder, 1) is None


def test_wrong_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        KrespError, match=r"clap_test_split1.txt, line 1: expected NAME and 0, 1 or 2, received 'a.avi 3'"
    ):
        read_lists(write(tmp_path / "a", clap_test_split1="a.avi 3\n"), 1)
    with pytest.raises(KrespError, match="walk/v is listed twice"):
        read_lists(write(tmp_path / "b", trainlist01="Walk/v.avi 1\n", testlist01="Walk/v.mp4\n"), 1)


@pytest.mark.parametrize("place", ["tree", "tree/ucfTrainTestlist", "splits", "ucf101-splits", "."])
def test_lists_are_found_in_and_beside_the_tree(place: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    ucf(tmp_path / place)
    write(tmp_path / "hmdb51-splits", trainlist01=HMDB_TRAIN, testlist01=HMDB_TEST)
    lists = find_lists(tmp_path / "tree", paths("Walk/v_Walk_g02_c01.mp4", "Walk/v_Walk_g01_c01.mp4"), 1, None)
    assert lists is not None
    assert lists.folder.resolve() == (tmp_path / place).resolve()


def test_lists_of_other_videos_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    ucf(tmp_path / "splits")
    mine = paths("Walk/v_Walk_g02_c01.mp4", "Walk/mine_1.mp4", "Walk/mine_2.mp4")
    assert find_lists(tmp_path / "tree", mine[1:], 1, None) is None
    # One in three may be chance, unless the user says that it is UCF101.
    assert find_lists(tmp_path / "tree", mine, 1, None) is None
    assert find_lists(tmp_path / "tree", mine, 1, "ucf101") is not None
    assert find_lists(tmp_path / "tree", mine, 1, "hmdb51") is None


def test_unlisted_and_absent_videos_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lists = require_lists(ucf(tmp_path), 1, None)
    entries = read_official(
        tmp_path, paths("Walk/extra.mp4", "Walk/v_Walk_g01_c01.mp4", "Walk/v_Walk_g02_c01.mp4"), lists
    )
    assert [(e.name, e.label, e.split) for e in entries] == [
        ("Walk/v_Walk_g01_c01.mp4", "Walk", "test"),
        ("Walk/v_Walk_g02_c01.mp4", "Walk", "train"),
    ]
    assert "1 video not in the official split left out, such as Walk/extra.mp4" in caplog.text
    assert "2 of the 4 videos in the official lists are not there" in caplog.text


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    lists = require_lists(ucf(tmp_path), 1, None)
    with pytest.raises(KrespError, match=r"Walk/v_Walk_g01_c01.avi and Walk/v_Walk_g01_c01.mp4 have the same name"):
        read_official(tmp_path, paths("Walk/v_Walk_g01_c01.avi", "Walk/v_Walk_g01_c01.mp4"), lists)


def test_lists_that_name_no_video_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KrespError, match="none of the videos"):
        read_official(tmp_path, paths("Walk/mine.mp4"), require_lists(ucf(tmp_path), 1, None))


def test_a_folder_without_lists_or_with_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a folder with trainlist02.txt and testlist02.txt"):
        require_lists(ucf(tmp_path), 2, None)
    with pytest.raises(UsageError, match="expected a folder"):
        require_lists(tmp_path / "no", 1, None)
    with pytest.raises(UsageError, match=r"data.format is hmdb51, but the lists in .* are those of ucf101"):
        require_lists(tmp_path, 1, "hmdb51")

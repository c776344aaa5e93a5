from __future__ import annotations

import pytest

from kresp3d.config.schema import load_config, parse_config
from kresp3d.experiments.reproduction.folder import ReproductionFolder
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError, UsageError


def config(**training):
    return parse_config({"training": training}, "test")


@pytest.fixture
def folder(tmp_path):
    folder = ReproductionFolder(tmp_path / "paper")
    folder.begin(config())
    return folder


def begin_training(folder, row, seed=0):
    folder.training(row, seed).path.mkdir(parents=True)


def test_what_was_begun_is_told_by_the_folders(folder):
    assert folder.begun() == {}
    begin_training(folder, "rgb", 3)
    begin_training(folder, "rgb", 12)
    # A training that has not come as far as its folder.
    folder.training("plain", 0).write_config(config())
    assert folder.begun() == {"rgb": {3, 12}}


@pytest.mark.parametrize(
    ("rows", "asked", "shown"),
    [
        ([], [3], (3,)),
        (["residual"], [2], (2,)),
        # A row that two tables share tells nothing of either.
        (["residual", "both"], [3], (3,)),
        (["residual_s4"], [2], (2, 3)),
        (["plain", "full3d"], [3], (2, 3, 4)),
    ],
)
def test_tables_that_were_begun_earlier_are_shown_with_those_asked_for(folder, rows, asked, shown):
    for row in rows:
        begin_training(folder, row)
    assert folder.tables(asked) == shown


def test_a_reproduction_is_not_begun_over_another_unless_it_is_said(folder):
    folder.begin(config())
    begin_training(folder, "rgb")
    with pytest.raises(KrespError, match="--resume, begin anew by --overwrite"):
        folder.begin(config())
    folder.begin(config(epochs=7), overwrite=True)
    assert folder.begun() == {} and load_config(folder.config_file).training.epochs == 7


def test_it_goes_on_with_the_same_configuration_alone(folder):
    begin_training(folder, "rgb")
    folder.begin(config(), resume=True)
    with pytest.raises(
        UsageError, match=r"training.epochs=auto \(now 7\), training.batch_size=8 \(now 2\); resume with"
    ):
        folder.begin(config(epochs=7, batch_size=2), resume=True)
    with pytest.raises(UsageError, match="and 1 more"):
        folder.begin(config(epochs=7, batch_size=2, momentum=0.5, optimizer="sgd"), resume=True)
    assert folder.begun() == {"rgb": {0}} and "training.epochs" in load_config(folder.config_file).auto


def test_what_is_somebody_elses_is_left_alone(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "holiday.png").write_text("a picture")
    for resume, overwrite in ((False, False), (False, True), (True, False)):
        with pytest.raises(KrespError, match="no part of a reproduction"):
            ReproductionFolder(tmp_path).begin(config(), resume=resume, overwrite=overwrite)
    assert (tmp_path / "figures" / "holiday.png").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(KrespError, match="is a file"):
        ReproductionFolder(tmp_path / "file").begin(config())


def test_a_run_and_a_reproduction_do_not_take_each_others_folder(folder, tmp_path):
    begin_training(folder, "rgb")
    with pytest.raises(KrespError, match="no run folder"):
        RunFolder.open(folder.path)
    with pytest.raises(KrespError, match="no part of a run"):
        RunFolder(folder.path).check_free(overwrite=True)
    run = RunFolder.create(tmp_path / "run", config())
    with pytest.raises(KrespError, match=r"no part of a reproduction \(config.yaml\)"):
        ReproductionFolder(run.path).begin(config(), overwrite=True)


def test_two_reproductions_in_one_folder_refuse(folder):
    with folder.locked(), pytest.raises(KrespError, match="another process is reproducing into"), folder.locked():
        pass

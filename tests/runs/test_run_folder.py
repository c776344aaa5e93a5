"""The folder of a run. Training, evaluation and prediction in one are tested with their commands."""

from __future__ import annotations

import csv
import errno
import json
import sys
from pathlib import Path

import pytest

import kresp3d
from kresp3d.config.schema import Config, override_config, parse_config
from kresp3d.records.index import Record, Records
from kresp3d.runs.phases import continuation
from kresp3d.runs.run_folder import RunFolder, command_line
from kresp3d.system.errors import KrespError, UsageError


def records(folder):
    videos = [
        Record(f"walk, slowly/{i}.mp4", "walk, slowly", "g1" if i else None, split, 9, 32, 32, "shard", 0, 1)
        for i, split in enumerate(("train", "train", "test"))
    ]
    return Records(folder, ("run", "walk, slowly"), tuple(videos), {}, {"fingerprint": "f00"})


def test_a_run_reads_back_what_it_was_given(tmp_path):
    training = {"ema": 0.5, "precision": "float32"}
    config = parse_config({"name": "x", "model": {"blocks": [1, 2]}, "training": training}, "the test")
    run = RunFolder.create(tmp_path / "runs" / "x", config)
    assert not run.has_data
    run.write_data(records(tmp_path / "records"))
    again = RunFolder.open(run.path)
    assert again.has_data and again.config == config and again.classes == ("run", "walk, slowly")
    assert again.splits == {"train", "test"}
    assert again.records_folder == tmp_path / "records" and again.environment["fingerprint"] == "f00"
    with (run.path / "catalog.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"name": "walk, slowly/0.mp4", "label": "walk, slowly", "group": "", "split": "train"}


@pytest.mark.parametrize("left", ["checkpoints", "model.keras"])
def test_a_run_that_got_somewhere_is_not_replaced_unasked(tmp_path, left):
    run = RunFolder.create(tmp_path, Config())
    # Nothing is lost here: no epoch was finished.
    run = RunFolder.create(tmp_path, Config(seed=1))
    (tmp_path / left).mkdir()
    with pytest.raises(KrespError, match=r"holds a run already.*--resume.*--overwrite.*--out"):
        RunFolder.create(tmp_path, Config(seed=2))
    assert RunFolder.open(tmp_path).config.seed == 1
    RunFolder.create(tmp_path, Config(seed=2), overwrite=True)
    assert RunFolder.open(tmp_path).config.seed == 2 and not (tmp_path / left).exists()
    assert run.path == tmp_path


@pytest.mark.parametrize("name", ["notes.txt", "figures", "checkpoints"])
def test_what_is_no_run_is_never_touched(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(KrespError, match=f"no part of a run .{name}."):
        RunFolder.create(tmp_path, Config(), overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_folder_that_cannot_be_made_gets_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    sentence = r"^cannot write into .*; give another folder by out= \(--out\)$"
    for path in (tmp_path / "file" / "run", tmp_path / ("x" * 300)):
        with pytest.raises(KrespError, match=sentence):
            RunFolder.create(path, Config())
        with pytest.raises(KrespError, match=sentence), RunFolder(path).locked():
            raise AssertionError("held what is not there")
    # What fails while the folder is held is not its fault.
    with pytest.raises(OSError, match="another thing"), RunFolder(tmp_path / "run").locked():
        raise OSError("another thing")


def test_what_differs_from_the_configuration_of_the_run_is_named(tmp_path):
    run = RunFolder.create(tmp_path, Config())
    run.check_config(Config())
    other = parse_config({"training": {"optimizer": "sgd"}, "data": {"synthetic": {"seed": 3}}}, "the test")
    with pytest.raises(UsageError, match=r"data\.synthetic\.seed=0, received 3 \(and 1 other keys? differ.*--out"):
        run.check_config(other)


def test_the_lock_is_free_again_after_use_and_clears_what_a_kill_left(tmp_path):
    run = RunFolder(tmp_path / "new")
    with run.locked(), pytest.raises(KrespError, match="another process is training"), run.locked():
        pass
    (run.path / ".part-1-model.keras").touch()
    (run.path / ".part-1-start.keras").touch()
    (run.path / ".part-1-report.md").touch()
    with run.locked():
        assert sorted(p.name for p in run.path.iterdir()) == [".lock", ".part-1-report.md"]


@pytest.mark.parametrize("content", [None, b"{", b"", b"[]", b"{}", b'{"records": 5, "packages": {}}', b"\xff\xfe"])
def test_a_missing_or_damaged_environment_gets_a_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "environment.json").write_bytes(content)
    with pytest.raises(KrespError, match=r"environment\.json is missing or damaged"):
        _ = RunFolder(tmp_path).environment
    with pytest.raises(KrespError, match=r"classes\.txt: its training has not begun"):
        _ = RunFolder(tmp_path).classes


@pytest.mark.parametrize(
    "content", [None, b"", b"a,b\n1,2\n", b"\xff\xfe", b"name,label,group,split\n" + b"x" * 200_000]
)
def test_a_missing_or_damaged_catalog_gets_a_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "catalog.csv").write_bytes(content)
    with pytest.raises(KrespError, match=r"catalog\.csv is missing or damaged"):
        _ = RunFolder(tmp_path).splits


def test_classes_that_are_no_text_get_a_sentence(tmp_path):
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(KrespError, match=r"classes\.txt is damaged"):
        _ = RunFolder(tmp_path).classes


def test_disk_errors_name_the_folder(tmp_path):
    with (
        pytest.raises(KrespError, match=f"cannot write into {tmp_path}: No space left"),
        RunFolder(tmp_path).disk_errors(),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_the_environment_says_how_the_run_was_made(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kresp3d", "train", "--set", "data.videos=my videos"])
    run = RunFolder.create(tmp_path / "run", Config())
    run.write_data(records(tmp_path))
    values = json.loads((run.path / "environment.json").read_text())
    assert values["command"] == "kresp3d train --set 'data.videos=my videos'"
    assert values["packages"]["tensorflow"][0].isdigit()


def test_the_command_of_a_program_that_uses_kresp3d_is_the_programs(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["my script.py", "--fast"])
    assert command_line() == "python 'my script.py' --fast"
    monkeypatch.setattr(sys, "argv", [str(Path(kresp3d.__file__).parent / "cli" / "child.py"), "train"])
    assert command_line() == "kresp3d train"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fma avx2 avx512f", "float32"),
        ("avx512f avx512_bf16", "mixed_bfloat16"),
        ("amx_bf16 amx_int8", "mixed_bfloat16"),
        ("asimd bf16", "mixed_bfloat16"),
        ("", "float32"),
    ],
)
def test_auto_is_the_fastest_precision_of_the_machine_and_stays_that_of_the_run(tmp_path, monkeypatch, flags, expected):
    monkeypatch.setattr("kresp3d.runs.run_folder.read_text", lambda path: f"flags\t\t: fpu {flags}\n")
    config = parse_config({"training": {"precision": "auto"}}, "the test")
    run = RunFolder.create(tmp_path / "run", config)
    assert RunFolder.open(run.path).config.training.precision == expected
    # On another machine the run goes on as it began.
    monkeypatch.setattr("kresp3d.runs.run_folder.read_text", lambda path: None)
    run.check_config(config)
    other = {"float32": "mixed_bfloat16", "mixed_bfloat16": "float32"}[expected]
    with pytest.raises(UsageError, match=f"begun with training.precision={expected}, received {other}"):
        run.check_config(parse_config({"training": {"precision": other}}, "the test"))


@pytest.mark.parametrize("found", [None, 1, 3])
def test_a_training_of_another_wiring_does_not_go_on(tmp_path, found):
    run = RunFolder.create(tmp_path / "run", Config())
    run.write_data(records(tmp_path / "records"))
    RunFolder.open(run.path).check_wiring()
    file = run.path / "environment.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "network_format": found}))
    with pytest.raises(KrespError, match=r"feature residual .*; train from scratch by overwrite=True \(--overwrite\)"):
        RunFolder.open(run.path).check_wiring()


def test_a_run_goes_on_with_what_was_settled_and_keeps_the_notes_that_are_still_true(tmp_path):
    automatic = Config()
    settled = {"training.epochs": 9, "training.warmup_epochs": 1, "training.ema": 0.5, "training.keep": "best"}
    settled |= {"clip.per_video": 2, "clip.frame_stride": 1, "model.frames": 8, "data.validation": 0}
    run = RunFolder.create(tmp_path / "run", automatic)
    run = run.settled(
        override_config(run.config, settled, "the test"), ["training.epochs is 9: so", "model.frames is 8"]
    )
    # The same words as at first.
    assert run.check_config(automatic) == run.config
    new = run.check_config(override_config(automatic, {"training.epochs": 12, "data.memory": 0}, "the test"))
    assert (new.training.epochs, new.training.ema, new.data.memory, new.auto) == (12, 0.5, 0, frozenset())
    how = continuation([], run.config, new, epoch=9, step=90, command="", where=run.path)
    run.go_on(new, how)
    assert RunFolder(run.path).config == new
    text = run.config_file.read_text()
    assert "# model.frames is 8\n" in text and "# training.epochs" not in text
    with pytest.raises(UsageError, match=r"begun with model\.frames=8, received 16"):
        run.check_config(override_config(automatic, {"model.frames": 16}, "the test"))

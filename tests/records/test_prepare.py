import csv
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from kresp3d.config.schema import DataConfig
from kresp3d.records import prepare as module
from kresp3d.records.format import parse_record, read_index, read_record
from kresp3d.records.prepare import prepare, records_folder
from kresp3d.system.errors import KrespError
from kresp3d.system.files import LOCK

LABELS = ("clap", "run", "walk")


@pytest.fixture(scope="module")
def tree(tmp_path_factory, make_video):
    """Twelve videos of 30 to 41 frames at 30 fps, 64x48, four of each class."""
    root = tmp_path_factory.mktemp("videos") / "tree"
    for number in range(12):
        label = LABELS[number % 3]
        make_video(root / label / f"g{number // 3:02d}_{label}.mp4", frames=30 + number, fps=30)
    return root


@pytest.fixture
def copy(tree, tmp_path):
    """The same videos, for a test that changes them."""
    root = tmp_path / "videos"
    for path in sorted(tree.rglob("*.mp4")):
        (root / path.parent.name).mkdir(parents=True, exist_ok=True)
        os.link(path, root / path.parent.name / path.name)
    return root


@pytest.fixture
def config(copy, tmp_path):
    return DataConfig(
        videos=str(copy),
        cache=str(tmp_path / "data"),
        short_side=32,
        group_regex="(g[0-9]+)_",
        validation=0.25,
        test=0.25,
        workers=1,
    )


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(module, "VIDEOS_PER_PART", 4)


def spoil(path):
    path.unlink()
    path.write_bytes(b"no video" * 100)


def state_of(folder):
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.iterdir() if p.name != LOCK}


def test_every_video_becomes_a_record_at_its_offset(config, small_parts):
    records = prepare(config.model_copy(update={"workers": 2}))
    assert len(records.videos) == 12
    assert records.classes == LABELS
    assert len({video.shard for video in records.videos}) > 1
    assert read_index(records.folder) == records
    for video in records.videos:
        entry = parse_record(read_record(str(records.folder / video.shard), video.offset))
        assert entry["name"].numpy().decode() == video.name
        assert entry["label"].numpy().decode() == video.label == video.name.split("/")[0]
        picture = tf.io.decode_jpeg(entry["frames"][0]).numpy()
        assert picture.shape[:2] == (video.height, video.width) == (32, 43)
        assert len(entry["frames"]) == video.frames
    # 30 to 41 frames at 30 fps are 15 to 21 at 15 fps.
    assert sorted(video.frames for video in records.videos) == [(30 + number + 1) // 2 for number in range(12)]


def test_the_second_run_touches_nothing(config, small_parts):
    first = prepare(config)
    before = state_of(first.folder)
    calls = []
    second = prepare(config, progress=lambda done, total: calls.append(done))
    assert second == first
    assert state_of(first.folder) == before
    assert calls == []


def test_the_second_run_does_not_import_tensorflow(config):
    prepare(config)
    code = (
        "import sys\nfrom kresp3d.config.schema import DataConfig\nfrom kresp3d.records.prepare import prepare\n"
        f"prepare(DataConfig.model_validate_json({config.model_dump_json()!r}))\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_split_rewrites_the_table_only(config, small_parts):
    first = prepare(config)
    before = state_of(first.folder)
    second = prepare(config.model_copy(update={"split_seed": 1, "test": 0.5}))
    after = state_of(first.folder)
    assert second.folder == first.folder
    assert {v.name: v.split for v in second.videos} != {v.name: v.split for v in first.videos}
    assert read_index(first.folder) == second
    rewritten = {name for name in before if before[name] != after[name]}
    assert rewritten == {"videos.csv", "index.json", "prepare-report.csv"}


def test_a_changed_video_rewrites_its_shard_only(config, copy, small_parts, make_video):
    first = prepare(config)
    before = state_of(first.folder)
    changed = first.videos[0]
    (copy / changed.name).unlink()
    make_video(copy / changed.name, frames=60, fps=30)
    second = prepare(config)
    after = state_of(first.folder)
    assert next(v for v in second.videos if v.name == changed.name).frames == 30
    shards = {name for name in before if name.endswith(".tfrecord") and before[name] != after[name]}
    assert shards == {changed.shard}


def test_a_removed_video_is_gone_from_the_records(config, copy, small_parts):
    first = prepare(config)
    gone = first.videos[3].name
    (copy / gone).unlink()
    second = prepare(config)
    assert {v.name for v in first.videos} - {v.name for v in second.videos} == {gone}
    assert len(second.videos) == 11


def test_undecodable_videos_are_listed_and_skipped(config, copy):
    spoil(copy / "run" / "g01_run.mp4")
    records = prepare(config.model_copy(update={"max_bad": 0.1}))
    assert len(records.videos) == 11
    with (records.folder / "prepare-report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["run/g01_run.mp4"]
    assert rows[0]["reason"]


def test_too_many_undecodable_videos_fail_at_the_end(config, copy):
    spoil(copy / "run" / "g01_run.mp4")
    calls = []
    with pytest.raises(KrespError, match=r"1 of 12 videos .*max_bad.*prepare-report\.csv") as caught:
        prepare(config, progress=lambda done, total: calls.append((done, total)))
    assert caught.value.exit_code == 1
    assert calls[-1] == (12, 12)
    with pytest.raises(KrespError, match="no finished records"):
        read_index(records_folder(config))
    # Nothing is decoded again when more are allowed.
    calls.clear()
    assert len(prepare(config.model_copy(update={"max_bad": 0.1}), progress=lambda *c: calls.append(c)).videos) == 11
    assert calls == []


def test_a_killed_run_goes_on_with_what_is_missing(config, tmp_path):
    folder = records_folder(config)
    script = tmp_path / "main.py"
    script.write_text(
        "import time\nfrom kresp3d.config.schema import DataConfig\nfrom kresp3d.records import prepare as module\n"
        "module.VIDEOS_PER_PART = 4\n"
        "if __name__ == '__main__':\n"
        f"    config = DataConfig.model_validate_json({config.model_dump_json()!r})\n"
        # Stands still before the seventh video, so that the kill comes when a part or two are finished.
        "    module.prepare(config, progress=lambda done, total: time.sleep(60 if done == 7 else 0))\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob(".part-*.tfrecord")) or not list(folder.glob("shard-*.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {p.name: p.stat().st_mtime_ns for p in folder.glob("shard-*.json")}
    assert not (folder / "index.json").exists()

    calls = []
    module.VIDEOS_PER_PART, usual = 4, module.VIDEOS_PER_PART
    try:
        records = prepare(config, progress=lambda done, total: calls.append((done, total)))
    finally:
        module.VIDEOS_PER_PART = usual
    assert calls[0][0] == sum(len(json.loads((folder / name).read_text())["videos"]) for name in finished) > 0
    assert calls[-1] == (12, 12)
    assert {name: (folder / name).stat().st_mtime_ns for name in finished} == finished
    assert len(records.videos) == 12
    assert list(folder.glob(".part-*")) == []


def test_records_that_are_read_are_not_written(config):
    folder = records_folder(config)
    folder.mkdir(parents=True)
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(KrespError, match="another process is reading"):
            prepare(config)


def test_a_process_that_prepares_is_waited_for_and_its_records_are_taken(config, monkeypatch, caplog):
    folder = records_folder(config)
    folder.mkdir(parents=True)
    with (folder / module.PREPARING).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def pause(seconds):
            # The other one is done: it has made all of them, in its own turn.
            fcntl.flock(file, fcntl.LOCK_UN)
            monkeypatch.undo()
            prepare(config)
            monkeypatch.setattr(module, "_write_missing", None)

        monkeypatch.setattr(module.time, "sleep", pause)
        records = prepare(config)
    assert len(records.videos) == 12 and "waiting until it has ended" in caplog.text


def test_records_of_other_settings_are_kept_unless_told(config, tmp_path):
    config = config.model_copy(update={"records": str(tmp_path / "mine")})
    first = prepare(config)
    other = config.model_copy(update={"short_side": 24})
    with pytest.raises(KrespError, match=r"another settings.*--overwrite"):
        prepare(other)
    assert read_index(first.folder) == first
    assert prepare(other, overwrite=True).videos[0].height == 24


def test_a_folder_with_other_files_is_refused(config, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(KrespError, match="not empty"):
        prepare(config.model_copy(update={"records": str(tmp_path / "mine")}), overwrite=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_a_full_disk_is_one_sentence_and_can_be_gone_on_from(config, monkeypatch):
    def fail(path, values):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with (
        monkeypatch.context() as patch,
        pytest.raises(KrespError, match=r"no space left for the records in .* MiB free"),
    ):
        patch.setattr(module, "write_json", fail)
        prepare(config)
    assert len(prepare(config).videos) == 12


def test_a_part_of_long_videos_has_several_shards(config, monkeypatch):
    monkeypatch.setattr(module, "SHARD_BYTES", 30_000)
    records = prepare(config)
    shards = sorted({video.shard for video in records.videos})
    assert shards[:2] == ["shard-00000-01.tfrecord", "shard-00000-02.tfrecord"]
    assert "shard-00000.tfrecord" in shards
    for video in records.videos:
        entry = parse_record(read_record(str(records.folder / video.shard), video.offset))
        assert entry["name"].numpy().decode() == video.name


def test_the_folder_depends_on_videos_and_settings(config):
    folder = records_folder(config)
    assert folder.parent.name == "records"
    assert folder.name.startswith("videos-")
    assert records_folder(config.model_copy(update={"fps": 10.0})) != folder
    assert records_folder(config.model_copy(update={"split_seed": 3})) == folder
    assert records_folder(config.model_copy(update={"records": "elsewhere"})).name == "elsewhere"


def test_a_stranger_s_index_is_not_taken_for_records(config, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.json").write_text("{}")
    with pytest.raises(KrespError, match="holds no records"):
        prepare(config.model_copy(update={"records": str(tmp_path / "mine")}), overwrite=True)
    assert (tmp_path / "mine" / "index.json").read_text() == "{}"

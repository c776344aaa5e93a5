from __future__ import annotations

import subprocess
import sys
import time

import pytest
import yaml

from kresp3d.api.suggest import suggest, suggested
from kresp3d.cli.main import main
from kresp3d.config.schema import load_config, make_config, override_config
from kresp3d.datasets.inspect import Bad, Facts
from kresp3d.system.errors import KrespError
from kresp3d.training import memory, rate
from kresp3d.training.memory import reckon_memory


def fact(number, label="a", split="train", frames=45, group=None):
    return Facts(f"{number}.mp4", label, group, split, frames, None if frames is None else frames / 15, 480, 640)


@pytest.fixture
def videos(make_tree, tmp_path):
    return make_tree(tmp_path / "videos", ("walk", "jump"), 5, frames=25)


def test_the_settings_are_those_that_a_training_would_have(videos, tmp_path, caplog):
    config = make_config({"data": {"videos": str(videos), "cache": str(tmp_path / "data")}}, {"training.minutes": None})
    found = suggest(config, measure=False)
    assert found.classes == ("jump", "walk") and found.groups == 0 and found.machine is None
    # 25 frames at 25 a second are 15 at 15 a second; a fifth of 5 videos of each class is for testing.
    assert found.plan.videos.frames == (15,) * 8 and found.plan.videos.validation == 0
    settled = found.plan.config
    assert settled.data.validation == 0 and settled.model.frames == 14 and not settled.auto
    assert any("data.group_regex" in line for line in found.advice)
    assert not (tmp_path / "data").exists()


def test_twenty_thousand_videos_take_seconds():
    facts = [
        fact(n, f"c{n % 100}", ("train", "train", "train", "test")[n % 4], group=f"p{n // 50}") for n in range(20000)
    ]
    begun = time.process_time()
    found = suggested(make_config({"data": {"videos": "v"}}), facts, [f"c{n}" for n in range(100)])
    assert time.process_time() - begun < 3
    assert found.plan.clips >= 15000 * 10 and found.groups == 400


def test_lengths_that_no_header_says_count_as_one_in_the_middle():
    facts = [fact(0, frames=10), fact(1, "b", frames=30), fact(2, "b", frames=50), fact(3, frames=None)]
    found = suggested(make_config({"data": {"videos": "v"}}), facts, "ab")
    assert sorted(found.plan.videos.frames) == [10, 30, 30, 50]


def test_without_training_videos_or_lengths_it_says_so():
    config = make_config({"data": {"videos": "v"}})
    with pytest.raises(KrespError, match="no training videos"):
        suggested(config, [fact(0, split="test")], "a")
    with pytest.raises(KrespError, match="how long it is"):
        suggested(config, [fact(0, frames=None)], "a")


def test_the_command_tells_and_writes_the_plan(videos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rate, "measure_clips_per_second", lambda config, classes, strategy: 100.0)
    file = tmp_path / "mine.yaml"
    assert main(["suggest", str(videos), "--out", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "8 videos to learn from, 2 to test, 2 classes" in shown and "GiB" in shown
    # 16,000 clips at 100 a second.
    assert "about 2:40 minutes, at the 100 clips a second that were measured now" in shown
    assert "What would help most:" in shown
    config = load_config(file)
    assert not config.auto and config.data.videos == str(videos)
    assert "# data.validation is 0.0" in file.read_text().replace("\n# ", " # ")
    assert main(["suggest", str(videos), "--out", str(file)]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_data_stats_ends_with_it_and_needs_no_tensorflow(videos, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"data": {"videos": str(videos)}}))
    code = (
        "import sys; from kresp3d.cli.main import main\n"
        f"assert main(['data', 'stats', '--config', {str(config)!r}]) == 0\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "What would help most:" in done.stdout and "The training:" in done.stdout


def test_the_memory_is_looked_at_before_anything_is_measured(monkeypatch):
    def measure(*arguments):
        raise AssertionError("there is not the memory for that")

    monkeypatch.setattr(rate, "measure_clips_per_second", measure)
    config = make_config({"data": {"videos": "v"}, "training": {"batch_size": 64, "precision": "float32"}})
    monkeypatch.setattr(memory, "available", lambda: reckon_memory(config, 2).peak // 2)
    facts = [fact(n, "ab"[n % 2]) for n in range(40)]
    # Whether the epochs are to be planned or are given.
    for given in (config, override_config(config, {"training.epochs": 3}, "test")):
        found = suggested(given, facts, "ab", measure=True)
        assert found.machine.verdict == "too large" and "training.batch_size" in found.machine.helps
        assert found.plan.seconds is None and found.machine.rate is None and not found.plan.config.auto


def test_given_epochs_have_their_time_too(monkeypatch):
    monkeypatch.setattr(rate, "measure_clips_per_second", lambda config, classes, strategy: 50.0)
    monkeypatch.setattr(memory, "available", lambda: 2**40)
    config = make_config(
        {"data": {"videos": "v"}}, {"training.epochs": 3, "clip.per_video": 2, "training.batch_size": 4}
    )
    found = suggested(config, [fact(n, "ab"[n % 2]) for n in range(40)], "ab", measure=True)
    assert found.plan.seconds == pytest.approx(3 * 2 * 40 / 50) and found.machine.verdict == "fits"
    # What other machines compute in is left to them.
    assert found.plan.config.training.precision == "auto"
    hosts = override_config(config, {"training.strategy": "multi_worker"}, "test")
    assert suggested(hosts, [fact(n, "ab"[n % 2]) for n in range(40)], "ab", measure=True).machine is None


def test_videos_that_are_shorter_than_a_clip_are_told_where_the_clip_was_shortened_for_them():
    facts = [fact(n, "ab"[n % 2], frames=6) for n in range(40)]
    found = suggested(make_config({"data": {"videos": "v"}}), facts, "ab")
    assert any("40 of 40 training videos have fewer than 17 stored frames" in line for line in found.advice)
    assert not found.doubts
    # Where it was not, the plan's own doubt says what to set.
    given = suggested(make_config({"data": {"videos": "v"}}, {"model.frames": 16}), facts, "ab")
    assert "model.frames" in given.doubts[0] and not any("stored frames" in line for line in given.advice)


def test_more_bad_videos_than_training_accepts_are_told():
    facts, config = [fact(n, "ab"[n % 2]) for n in range(99)], make_config({"data": {"videos": "v"}})
    one, two = [Bad(f"{n}.avi", "cut off") for n in range(1)], [Bad(f"{n}.avi", "cut off") for n in range(2)]
    assert not any("data.max_bad" in line for line in suggested(config, facts, "ab", one).doubts)
    assert any("2 of 101 videos cannot be opened" in line for line in suggested(config, facts, "ab", two).doubts)


@pytest.mark.parametrize("missing", ["nothing", "empty"])
def test_videos_that_are_not_there_get_a_sentence(tmp_path, capsys, missing):
    (tmp_path / "empty").mkdir()
    code = main(["suggest", str(tmp_path / missing)])
    assert code in (1, 2) and capsys.readouterr().err.startswith("Error: ")

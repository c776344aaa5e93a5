"""`kresp3d suggest` and the end of `kresp3d data stats`, as they are printed."""

from __future__ import annotations

import pytest
import yaml

from kresp3d.cli.main import main
from kresp3d.config.schema import load_config
from kresp3d.system.errors import KrespError
from kresp3d.training import memory, rate


@pytest.fixture
def persons(make_video, tmp_path):
    """Six persons, each with a video of both classes."""
    for label in ("jump", "walk"):
        for number in range(6):
            make_video(tmp_path / "videos" / label / f"{label}_p{number}_1.mp4", frames=30, fps=15)
    return tmp_path / "videos"


@pytest.fixture
def measured(monkeypatch):
    """What is asked of the machine; it makes 80 clips a second."""
    asked = []
    monkeypatch.setattr(rate, "measure_clips_per_second", lambda config, *other: asked.append(config) or 80.0)
    monkeypatch.setenv("COLUMNS", "120")
    return asked


def test_groups_are_found_in_the_names_and_it_is_said_by_which_pattern(persons, measured, capsys):
    assert main(["suggest", str(persons), "--set", "data.workers=1"]) == 0
    shown = capsys.readouterr()
    assert "10 videos to learn from, 2 to test, 2 classes, 5 groups to learn from" in shown.out
    assert r"(p\d+)" in shown.out and "5 groups to learn from, and what" in shown.out
    # What the list says is not said before it, too.
    assert "WARNING" not in shown.err and len(measured) == 1


def test_what_is_given_goes_before_what_is_found(persons, measured, capsys, tmp_path):
    words = [
        "--set",
        "data.workers=1",
        "--set",
        r"data.group_regex=(walk|jump)_p",
        "--set",
        "data.allow_group_leak=true",
    ]
    # Each class is a group then, so that no test split can be made.
    assert main(["suggest", str(persons), *words]) == 0
    out = capsys.readouterr().out
    assert "0 to test" in out and "found in the names" not in out and "Film jump, walk with others too" in out
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"data": {"videos": str(persons), "workers": 1}}))
    assert main(["suggest", "--config", str(config)]) == 0
    assert "It is not known which videos show the same person" in capsys.readouterr().out


def test_a_file_elsewhere_finds_the_videos_and_trains_as_told(persons, measured, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert main(["suggest", "videos", "--out", "there/mine.yaml", "--set", "data.workers=1"]) == 0
    config = load_config(tmp_path / "there" / "mine.yaml")
    assert config.data.videos == str(persons) and not config.auto and config.training.precision == "auto"


def test_what_does_not_fit_is_said_with_what_to_lower_and_is_not_measured(persons, measured, monkeypatch, capsys):
    monkeypatch.setattr(memory, "available", lambda: 2**29)
    assert main(["suggest", str(persons), "--set", "data.workers=1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "not measured, since it would not fit into memory" in shown and measured == []
    assert "and only 0.5 GiB are available: it does not fit; lower training.batch_size" in shown
    # A GPU's memory is not known, so nothing is said against it.
    monkeypatch.setattr(memory, "available", lambda: None)
    assert main(["suggest", str(persons), "--set", "data.workers=1"]) == 0
    assert "is not known" in capsys.readouterr().out and len(measured) == 1


def test_nothing_to_look_at_is_bad_usage(capsys):
    assert main(["suggest"]) == 2
    assert "--config" in capsys.readouterr().err


def test_data_stats_shows_its_figures_where_there_is_nothing_to_plan_by(persons, tmp_path, monkeypatch, capsys):
    def suggested(*arguments, **options):
        raise KrespError("no video says in its header how long it is")

    monkeypatch.setattr("kresp3d.api.suggest.suggested", suggested)
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"data": {"videos": str(persons), "workers": 1}}))
    assert main(["data", "stats", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "picture sizes" in out and "no video says in its header" in out

import csv

import pytest
import yaml

from kresp3d.cli.main import main


@pytest.fixture
def config(tmp_path, make_video):
    root = tmp_path / "videos"
    for label in ("run", "walk"):
        for group in ("g01", "g02", "g03"):
            make_video(root / label / f"{group}_{label}.mp4", frames=30, fps=30)
    values = {
        "data": {
            "videos": str(root),
            "cache": str(tmp_path / "data"),
            "group_regex": "(g[0-9]+)_",
            "short_side": 112,
            "validation": 0.0,
            "test": 0.34,
            "workers": 1,
            "synthetic": {"subjects": 1, "videos_per_class": 1, "size": 32, "seconds": 0.4},
        }
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def spoil(tmp_path):
    (tmp_path / "videos" / "run" / "g02_run.mp4").write_bytes(b"no video" * 100)


def test_prepare_says_what_it_made(config, tmp_path, capsys):
    assert main(["data", "prepare", "--config", str(config)]) == 0
    first = capsys.readouterr().out
    assert "6 videos of 2 classes" in first
    [folder] = (tmp_path / "data" / "records").iterdir()
    assert (folder / "index.json").is_file()
    assert main(["data", "prepare", "--config", str(config)]) == 0
    assert capsys.readouterr().out == first


def test_too_many_bad_videos_exit_with_1(config, tmp_path, capsys):
    spoil(tmp_path)
    assert main(["data", "prepare", "--config", str(config)]) == 1
    assert "1 of 6 videos cannot be decoded" in capsys.readouterr().err
    [folder] = (tmp_path / "data" / "records").iterdir()
    with (folder / "prepare-report.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["run/g02_run.mp4"]


def test_check_lists_bad_videos_and_never_replaces_a_report(config, tmp_path, capsys):
    spoil(tmp_path)
    report = tmp_path / "report.csv"
    command = ["data", "check", "--config", str(config), "--report", str(report)]
    assert main(command) == 1
    captured = capsys.readouterr()
    assert "run/g02_run.mp4" in captured.out
    assert "5 of 6 videos can be decoded" in captured.out
    assert "max_bad" in captured.err
    assert report.read_text().startswith("name,reason\nrun/g02_run.mp4,")
    assert main(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--set", "data.max_bad=0.5"]) == 0
    assert not (tmp_path / "data").exists()


def test_stats_show_classes_splits_and_sizes(config, capsys):
    assert main(["data", "stats", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "64×48: 6" in out
    assert "no group is in two splits" in out
    row = next(line for line in out.splitlines() if "walk" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["walk", "2", "0", "1", "3", "1.0/1.0/1.0"]


def test_synth_renders_videos_and_a_sheet(config, tmp_path, capsys):
    out, sheet = tmp_path / "synth", tmp_path / "sheet.png"
    assert main(["data", "synth", "--config", str(config), "--out", str(out), "--sheet", str(sheet)]) == 0
    assert len(list(out.rglob("*.mp4"))) == 10
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert (out / "catalog.csv").is_file()


def test_synth_replaces_a_dataset_of_other_settings_when_told(config, tmp_path, capsys):
    line = ["data", "synth", "--config", str(config), "--out", str(tmp_path / "synth")]
    assert main(line) == 0
    assert main([*line, "--set", "data.synthetic.seed=1"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*line, "--set", "data.synthetic.seed=1", "--overwrite"]) == 0


def test_a_missing_configuration_is_bad_usage(tmp_path, capsys):
    assert main(["data", "prepare", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "not found" in capsys.readouterr().err

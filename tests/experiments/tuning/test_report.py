from __future__ import annotations

import csv

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from kresp3d.config.schema import load_config
from kresp3d.experiments.tuning.effects import read_trials
from kresp3d.experiments.tuning.journal import Journal, Outcome, TrialRecord
from kresp3d.experiments.tuning.oracle import make_oracle, use_temporary_folder
from kresp3d.experiments.tuning.report import write_best, write_hparams, write_report, write_trials


@pytest.fixture
def sweep(make_space, drive, tmp_path):
    """A space and the trials of its grid: finished but for one that failed, one that was ended early, one that runs."""
    space = make_space(seeds=2)
    oracle = make_oracle(space)
    with use_temporary_folder(oracle):
        oracle.begin(Journal(tmp_path / "journal.jsonl"))
        drive(oracle)
    records = Journal(tmp_path / "journal.jsonl").trials()
    records[1].outcome = Outcome("failed", epochs=1, reason="out of | memory\nand more")
    records[2].outcome = Outcome("stopped", (0.99,), 3, 1.0)
    records[3] = TrialRecord("0003", "tuner0", records[3].values)
    records[4].outcome = Outcome("done", (0.25, 0.45), 9, 2.0)
    return space, read_trials(records, space)


def test_trials_csv_has_a_row_for_each_trial(sweep, tmp_path):
    space, trials = sweep
    write_trials(tmp_path / "trials.csv", trials, space)
    with (tmp_path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 28
    assert [row["status"] for row in rows[:5]] == ["done", "failed", "stopped", "running", "done"]
    assert rows[1]["reason"] == "out of | memory\nand more" and rows[1]["video_top1"] == ""
    assert float(rows[4]["video_top1"]) == 0.35 and float(rows[4]["spread"]) == pytest.approx(0.1414, abs=1e-4)
    assert rows[4]["scores"] == "0.250000 0.450000"
    for row, trial in zip(rows, trials, strict=True):
        settings = {key: yaml.safe_load(row[key]) for key in space.dimensions if row[key]}
        assert settings == trial.settings


def test_best_yaml_is_a_configuration_for_training(sweep, tmp_path):
    space, trials = sweep
    best = write_best(tmp_path / "best.yaml", trials, space)
    # The trial that was ended early has the highest figure, but of single clips.
    assert best.score == pytest.approx(0.3 + 0.2 + 0.05 * 4)
    config = load_config(tmp_path / "best.yaml")
    assert (config.model.step, config.model.attention, config.name) == (4, True, "run-best")
    assert config.evaluation == space.base.evaluation and not config.tune.space
    assert f"kresp3d train --config {tmp_path / 'best.yaml'}" in (tmp_path / "best.yaml").read_text()


def test_without_a_finished_trial_there_is_no_best(sweep, tmp_path):
    space, trials = sweep
    assert write_best(tmp_path / "best.yaml", trials[1:4], space) is None
    assert not (tmp_path / "best.yaml").exists()
    write_report(tmp_path, trials[1:4], space, command="kresp3d tune", seconds=1.0)
    assert "No trial has ended well." in (tmp_path / "report.md").read_text()


def test_the_report_ranks_and_says_what_each_key_does(sweep, tmp_path):
    space, trials = sweep
    text = write_report(tmp_path, trials, space, command="kresp3d tune -c x", seconds=120).read_text()
    assert "28 trials, 25 finished, 1 ended early, 1 failed, 1 not finished, 2 seeds each, 2.0 minutes" in text
    lines = text.splitlines()
    first = lines[lines.index("## Ranking") + 4]
    assert first.startswith("| 1 |") and "| 4 | true |" in first and "70.0 %" in first
    assert any(line.startswith("| 0001 |") and "out of \\| memory and more" in line for line in lines)
    # The score was made so: attention adds 20 points, whatever the rest.
    [attention] = [line for line in lines if line.startswith("| true |") and "+20.0" in line]
    assert "± 0.0" in attention
    for key in space.dimensions:
        assert (tmp_path / "figures" / f"{key}.png").read_bytes().startswith(b"\x89PNG")
        assert f"](figures/{key}.png)" in text


def test_tensorboard_gets_the_settings_and_the_score_of_each_finished_trial(sweep, tmp_path):
    space, trials = sweep
    write_hparams(tmp_path / "logs", trials, space)
    write_hparams(tmp_path / "logs", trials, space)
    folders = {path.name for path in (tmp_path / "logs").iterdir() if path.is_dir()}
    assert folders == {trial.name for trial in trials if trial.score is not None}
    events = EventAccumulator(str(tmp_path / "logs" / "0004"))
    events.Reload()
    [score] = events.Tensors("video_top1")
    assert score.tensor_proto.float_val[0] == pytest.approx(0.35) and score.step == 9
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["model.modality"].string_value == trials[4].settings["model.modality"]
    assert start.hparams["model.attention"].bool_value is trials[4].settings["model.attention"]

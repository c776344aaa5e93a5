"""How a resumed training goes on, from its files alone."""

from __future__ import annotations

import csv
import json

import pytest

from kresp3d.config.schema import parse_config
from kresp3d.runs.phases import Phase
from kresp3d.runs.run_folder import RunFolder
from kresp3d.training.callbacks import write_history
from kresp3d.training.checkpoint import Progress
from kresp3d.training.continued import continued, steps_at


def rows(*scores):
    return [{"epoch": n, "val_top1": score, "val_loss": 1.0} for n, score in enumerate(scores, 1)]


def make_run(path, keep, noted=None):
    run = RunFolder.create(path / "run", parse_config({"training": {"epochs": 9, "keep": keep}}, "the test"))
    if noted:
        run.training_file.write_text(json.dumps(dict(zip(("epochs", "kept_epoch"), noted, strict=True))))
    return run


@pytest.mark.parametrize(
    ("noted", "best"),
    [
        # The network of epoch 2, the best one, is there.
        ((4, 2), 2),
        # A kill after the checkpoint, before the rest: the file is of epoch 2 still, as it should be.
        ((3, 2), 2),
        # `keep` was `last`: the best network is gone.
        ((4, 4), 4),
        ((3, 3), 4),
        (None, 2),
    ],
)
def test_the_best_epoch_is_one_whose_network_is_there(tmp_path, noted, best):
    run = make_run(tmp_path, "best", noted)
    progress = Progress(4, 2, (0.8, -1.0), 1.0, rows(0.5, 0.8, 0.2, 0.6))
    continued(run, run, progress, 40)
    assert (progress.best_epoch, progress.best_score) == (best, (0.8 if best == 2 else 0.6, -1.0))


def test_a_run_that_keeps_the_last_epoch_still_knows_the_best(tmp_path):
    run = make_run(tmp_path, "last", (4, 4))
    progress = Progress(4, 2, (0.8, -1.0), 1.0, rows(0.5, 0.8, 0.2, 0.6))
    continued(run, run, progress, 40)
    assert progress.best_epoch == 2


def test_patience_begins_anew_with_a_phase():
    progress = Progress(6, 2, (0.8, -1.0))
    config = parse_config({"training": {"epochs": 20, "early_stop": 3}}, "the test").training
    assert progress.is_finished(config) and not progress.is_finished(config, before=4)
    assert progress.is_finished(config, before=3)


def test_steps_are_counted_over_phases_of_other_steps():
    assert steps_at(5, None, 7) == 35
    assert [steps_at(epoch, Phase(4, 33, {}), 5) for epoch in (3, 4, 9)] == [33, 38, 63]


def test_rows_of_before_there_were_phases_are_of_the_first(tmp_path):
    run = make_run(tmp_path, "best")
    progress = Progress(2, 2, (0.8, -1.0), 1.0, [*rows(0.5), {"epoch": 2, "phase": 2, "val_top1": 0.8}])
    write_history(run, progress)
    with run.history_file.open() as file:
        assert [(row["epoch"], row["phase"]) for row in csv.DictReader(file)] == [("1", "1"), ("2", "2")]

from __future__ import annotations

import time
from collections import Counter

import pytest

from kresp3d.experiments.tuning.journal import Ended, Journal, Outcome
from kresp3d.experiments.tuning.oracle import count_trials, make_oracle, use_temporary_folder, with_outcome
from kresp3d.system.errors import KrespError

ORACLES = ["grid", "random", "bayesian", "hyperband"]
RANGES = {
    "training.learning_rate": {"float": [0.001, 0.1], "log": True},
    "model.width": {"int": [8, 32], "step": 8},
    "model.attention": "bool",
}


def begin(space, path):
    oracle = make_oracle(space)
    scratch = use_temporary_folder(oracle)
    scratch.__enter__()
    oracle.begin(Journal(path))
    return oracle


def test_a_grid_has_every_combination_that_matters_once(make_space, drive, tmp_path):
    space = make_space()
    points = [space.decode(v) for v in drive(begin(space, tmp_path / "journal.jsonl")).values()]
    assert len(points) == 4 + 2 * 3 * 4
    assert len({repr(sorted(point.items())) for point in points}) == len(points)
    assert Counter("model.step" in point for point in points if point["model.modality"] == "rgb") == {False: 4}
    assert all("model.step" in point for point in points if point["model.modality"] != "rgb")


@pytest.mark.parametrize("oracle", ORACLES)
# The Gaussian process takes over after nine random points.
@pytest.mark.parametrize("stop", [1, 11])
def test_a_killed_sweep_goes_on_as_if_nothing_had_been(make_space, drive, tmp_path, oracle, stop):
    space = make_space(oracle, RANGES | {"training.learning_rate": {"float": [0.001, 0.1], "step": 0.033}}, trials=14)
    whole = drive(begin(space, tmp_path / "whole.jsonl"))
    # Killed in a trial: begun, not ended.
    first = begin(space, tmp_path / "parts.jsonl")
    parts = drive(first, most=stop)
    first.create_trial("tuner0")
    rest = drive(begin(space, tmp_path / "parts.jsonl"))
    assert parts | rest == whole and len(whole) == 14
    # Nothing that had ended was run again, and what was interrupted was.
    assert not set(parts) & set(rest) and f"{stop:04}" in rest
    journal = Journal(tmp_path / "parts.jsonl")
    assert [record.outcome.status for record in journal.trials()] == ["done"] * 14


def test_a_sweep_may_be_extended(make_space, drive, tmp_path):
    path = tmp_path / "journal.jsonl"
    few = drive(begin(make_space(trials=3), path))
    more = drive(begin(make_space(trials=5), path))
    assert [*few, *more] == ["0000", "0001", "0002", "0003", "0004"]


def test_a_journal_of_another_search_is_refused(make_space, drive, tmp_path):
    path = tmp_path / "journal.jsonl"
    drive(begin(make_space(), path))
    with pytest.raises(KrespError, match="another search"):
        begin(make_space(space={"model.attention": "bool"}), path)


@pytest.mark.parametrize("oracle", ORACLES)
def test_trials_that_fail_do_not_end_a_sweep(make_space, tmp_path, oracle):
    path = tmp_path / "journal.jsonl"
    sweep = begin(make_space(oracle, RANGES, trials=6, epochs=4), path)
    names = []
    while (trial := sweep.create_trial("tuner0")).status == "RUNNING":
        names.append(trial.trial_id)
        sweep.end_trial(with_outcome(trial, Outcome("failed", reason="no memory")))
    assert len(names) == len(set(names)) >= 4
    assert {event.outcome.reason for event in Journal(path).events if isinstance(event, Ended)} == {"no memory"}


@pytest.mark.parametrize(("oracle", "count"), [("grid", 28), ("random", 20), ("bayesian", 20), ("hyperband", 23)])
def test_trials_are_counted_before(make_space, drive, tmp_path, oracle, count):
    assert count_trials(make_space(oracle)) == count
    assert count_trials(make_space(oracle, trials=5)) == 5
    if oracle != "bayesian":
        assert len(drive(begin(make_space(oracle), tmp_path / "journal.jsonl"))) == count


def test_hyperband_goes_on_with_the_better_ones(make_space, drive, tmp_path):
    space = make_space("hyperband")
    trials = drive(begin(space, tmp_path / "journal.jsonl"))
    longer = {name: values for name, values in trials.items() if "tuner/trial_id" in values}
    assert longer
    for values in longer.values():
        past = trials[values["tuner/trial_id"]]
        assert space.decode(past) == space.decode(values)
        assert values["tuner/initial_epoch"] == past["tuner/epochs"] < values["tuner/epochs"] <= 9


def test_the_trial_of_a_silent_worker_is_run_by_another(make_space, tmp_path):
    path = tmp_path / "journal.jsonl"
    oracle = begin(make_space(trials=2), path)
    first, second = oracle.create_trial("a"), oracle.create_trial("b")
    time.sleep(0.3)
    oracle.get_trial(second.trial_id)
    assert oracle.give_up_on_lost_workers(0.2) == ["a"]
    assert oracle.give_up_on_lost_workers(0.2) == []
    # What the lost worker says when it comes back counts no longer.
    oracle.end_trial(with_outcome(first, Outcome("done", (0.9,))))
    oracle.end_trial(with_outcome(second, Outcome("done", (0.5,))))
    again = oracle.create_trial("b")
    assert again.trial_id == first.trial_id and again.hyperparameters.values == first.hyperparameters.values
    oracle.end_trial(with_outcome(again, Outcome("done", (0.6,))))
    assert oracle.create_trial("b").status == "STOPPED" and not oracle.tuner_ids
    assert {record.trial: record.outcome.score for record in Journal(path).trials()} == {"0000": 0.6, "0001": 0.5}


def test_a_worker_waits_while_another_ones_trial_may_yet_be_lost(make_space, tmp_path):
    oracle = begin(make_space(trials=1), tmp_path / "journal.jsonl")
    trial = oracle.create_trial("a")
    assert oracle.create_trial("b").status == "IDLE" and not oracle.has_ended
    oracle.end_trial(with_outcome(trial, Outcome("done", (0.5,))))
    assert oracle.create_trial("b").status == "STOPPED" and oracle.has_ended


def test_a_worker_that_dies_with_every_try_of_a_trial_does_not_keep_the_sweep_for_ever(make_space, tmp_path):
    oracle = begin(make_space(trials=1), tmp_path / "journal.jsonl")
    tries = 0
    while oracle.create_trial(f"worker {tries}").status == "RUNNING":
        tries += 1
        assert oracle.give_up_on_lost_workers(0.0)
    assert tries == 6


def test_a_failure_ends_the_search_for_every_worker(make_space, tmp_path):
    oracle = begin(make_space(), tmp_path / "journal.jsonl")
    oracle.create_trial("a")
    (tmp_path / "journal.jsonl").unlink()
    (tmp_path / "journal.jsonl").mkdir()
    assert oracle.create_trial("b").status == "STOPPED"
    assert isinstance(oracle.failure, IsADirectoryError)
    # What a chief waits for before it ends: no trial, no worker.
    assert not oracle.ongoing_trials and not oracle.tuner_ids
    assert oracle.create_trial("a").status == "STOPPED" and not oracle.tuner_ids

from __future__ import annotations

import pytest

from kresp3d.config.schema import override_config, parse_config
from kresp3d.experiments.tuning.journal import Begun, Journal, Outcome
from kresp3d.experiments.tuning.oracle import make_oracle, use_temporary_folder
from kresp3d.experiments.tuning.sweep import Sweep, SweepFolder
from kresp3d.system.errors import KrespError, UsageError


def config(**tune):
    return parse_config({"tune": {"space": {"model.attention": "bool"}, **tune}}, "test")


def test_a_sweep_that_is_there_is_left_alone_unless_asked(tmp_path):
    folder = SweepFolder(tmp_path / "sweep")
    folder.begin(config())
    (folder.trials / "0000").mkdir()
    Journal(folder.journal_file).append(Begun("0000", "tuner0", {}))
    with pytest.raises(KrespError, match=r"--resume.*--overwrite"):
        folder.begin(config())
    folder.begin(config(), resume=True)
    assert (folder.trials / "0000").exists()
    folder.begin(config(), overwrite=True)
    assert not (folder.trials / "0000").exists() and folder.config_file.exists()


def test_a_start_that_failed_before_the_first_trial_does_not_block_the_next(tmp_path):
    folder = SweepFolder(tmp_path / "sweep")
    folder.begin(config())
    folder.begin(config(seeds=2))
    assert "seeds: 2" in folder.config_file.read_text()


def test_a_sweep_goes_on_with_the_same_configuration_or_more_trials(tmp_path):
    folder = SweepFolder(tmp_path / "sweep")
    folder.begin(config(trials=1))
    folder.begin(config(trials=2), resume=True)
    # What changes neither a training nor what is measured may change.
    folder.begin(override_config(config(trials=2), {"data.workers": 3, "evaluation.batch_size": 2}, "x"), resume=True)
    assert "trials: 2" in folder.config_file.read_text()
    with pytest.raises(UsageError, match=r"was begun with tune\.seeds=1 \(now 2\)"):
        folder.begin(config(trials=2, seeds=2), resume=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_somebody_elses_is_never_touched(tmp_path, overwrite):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(KrespError, match=r"notes\.txt"):
        SweepFolder(tmp_path).begin(config(), overwrite=overwrite)
    (tmp_path / "notes.txt").unlink()
    # A run's folder has names in common with a sweep's.
    (tmp_path / "report.md").write_text("of a run")
    with pytest.raises(KrespError, match=r"report\.md"):
        SweepFolder(tmp_path).begin(config(), overwrite=overwrite)
    assert (tmp_path / "report.md").read_text() == "of a run"
    with pytest.raises(KrespError, match="is a file"):
        SweepFolder(tmp_path / "report.md").begin(config())


class Runner:
    def __init__(self, result):
        self.result, self.ran = result, []

    def run(self, trial, settings, past=None, until=None):
        self.ran.append((trial, settings, past, until))
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def sweep(make_space, tmp_path):
    """`sweep(result, **space)` makes a sweep of which every trial ends so."""

    def make(result, **options):
        space = make_space(**options)
        oracle = make_oracle(space)
        oracle.begin(Journal(tmp_path / "journal.jsonl"))
        scratch = tmp_path / "scratch"
        return Sweep(oracle, Runner(result), space, scratch)

    return make


@pytest.mark.parametrize(
    "outcome", [Outcome("done", (0.5,)), Outcome("failed", reason="x"), Outcome("stopped", (0.1,))]
)
def test_every_trial_is_run_however_it_ends(sweep, outcome, capsys):
    work = sweep(outcome)
    work.work()
    assert [trial for trial, *_ in work.runner.ran] == [f"{n:04}" for n in range(28)]
    assert {record.outcome for record in work.oracle.journal.trials()} == {outcome}
    assert capsys.readouterr().out == ""


def test_hyperband_says_where_to_go_on_and_when_to_stop(sweep):
    work = sweep(Outcome("done", (0.5,)), oracle="hyperband")
    work.work()
    assert {until for *_, until in work.runner.ran} == {1, 3, 9}
    assert all((past is None) == (until == 1) or until > 1 for _, _, past, until in work.runner.ran)
    assert any(past is not None for _, _, past, _ in work.runner.ran)


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KrespError("gone"), KeyboardInterrupt()])
def test_what_is_no_trials_own_failure_ends_the_sweep_and_the_trial_is_run_again(sweep, error, make_space, tmp_path):
    work = sweep(error)
    with pytest.raises(type(error)):
        work.work()
    assert len(work.runner.ran) == 1
    [record] = Journal(tmp_path / "journal.jsonl").trials()
    assert record.outcome is None
    with use_temporary_folder(again := make_oracle(make_space())):
        again.begin(Journal(tmp_path / "journal.jsonl"))
        assert again.create_trial("tuner0").trial_id == record.trial

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kresp3d.experiments.tuning.journal import Ended, Journal, Outcome
from kresp3d.experiments.tuning.sweep import SweepFolder
from kresp3d.experiments.tuning.trial import TrialRunner
from kresp3d.experiments.tuning.tune import lead
from kresp3d.system.errors import KrespError


@pytest.fixture
def run(monkeypatch, tmp_path, make_space):
    """`run(results, **options)` leads a sweep whose trials end so; gives what was printed."""

    def run(results, **options):
        results = iter(results)

        def train(*arguments, **keywords):
            result = next(results)
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setattr(TrialRunner, "run", train)
        space = make_space(**options)
        folder = SweepFolder(tmp_path / "sweep")
        folder.begin(space.base, resume=True)
        out = io.StringIO()
        lead(folder, space, Console(file=out, width=100))
        return out.getvalue()

    return run


DONE, FAILED = Outcome("done", (0.5,), 9, 1.0), Outcome("failed", reason="no memory")


def test_a_sweep_ends_with_the_best_and_its_report(run, tmp_path):
    said = run([FAILED, DONE], trials=2)
    assert "grid over model.step, model.attention, model.feature_residual, model.modality: 2 trials" in said
    assert "Best: trial 0001" in said and (tmp_path / "sweep" / "report.md").is_file()


def test_an_interrupted_sweep_leaves_a_report_and_goes_on(run, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        run([DONE, KeyboardInterrupt()], trials=3)
    assert "1 finished, 1 not finished" in (tmp_path / "sweep" / "report.md").read_text()
    assert "3 of 3 trials" in run([DONE, DONE], trials=3)


def test_a_full_disk_ends_a_sweep_and_loses_no_trial(run):
    with pytest.raises(OSError, match="No space left"):
        run([DONE, OSError(28, "No space left on device")], trials=3)
    assert "3 of 3 trials" in run([DONE, DONE], trials=3)


def test_the_report_of_another_search_stays_as_it_is(run, tmp_path, make_space):
    run([DONE], trials=1)
    before = (tmp_path / "sweep" / "report.md").read_bytes()
    (tmp_path / "sweep" / "sweep.yaml").write_text(make_space(trials=1, seeds=2).base.to_yaml())
    with pytest.raises(KrespError, match="another search"):
        run([DONE], trials=1, seeds=2)
    assert (tmp_path / "sweep" / "report.md").read_bytes() == before


def test_a_journal_that_cannot_be_written_ends_a_sweep_with_that_error(run, monkeypatch):
    append = Journal.append

    def fail(self, event):
        if isinstance(event, Ended):
            raise OSError(28, "No space left on device")
        append(self, event)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(Journal, "append", fail)
        run([DONE], trials=2)
    assert "2 of 2 trials" in run([DONE, DONE], trials=2)

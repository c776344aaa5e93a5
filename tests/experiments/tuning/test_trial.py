from __future__ import annotations

import json
import signal
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.experiments.tuning import trial as trial_module
from kresp3d.experiments.tuning.trial import Glimpse, TrialRunner, is_worse

curves = st.lists(st.floats(0, 1), min_size=1, max_size=9)


@given(curves, st.lists(curves, max_size=2))
def test_with_fewer_than_three_others_nothing_is_ended(curve, others):
    assert not is_worse(curve, others)


@given(st.lists(curves, min_size=3, max_size=7), st.integers(1, 9))
def test_the_best_training_is_never_ended(others, length):
    best = [max(max(other) for other in others)] * length
    assert not is_worse(best, others)


def test_a_training_is_compared_at_its_own_epoch_by_its_best_so_far():
    others = [[0.1, 0.5, 0.9], [0.2, 0.6, 0.9], [0.3, 0.7, 0.9]]
    assert is_worse([0.1], others) and not is_worse([0.2], others)
    assert not is_worse([0.6, 0.0], others) and is_worse([0.5, 0.5], others)


class Scripted:
    """Stands for training processes: writes what they would leave, an epoch at each look."""

    def __init__(self, curve, code=0, says="", video_top1=0.8):
        self.curve, self.code, self.says, self.video_top1 = curve, code, says, video_top1
        self.commands = []

    @contextmanager
    def process(self, arguments, log):
        self.commands.append(arguments)
        options = dict(zip(arguments[1::2], arguments[2::2], strict=False))
        self.run = trial_module.Path(options["--out"])
        self.run.mkdir(parents=True, exist_ok=True)
        (self.run / "checkpoints").mkdir(exist_ok=True)
        (self.run / "config.yaml").write_text(trial_module.Path(options["--config"]).read_text())
        self.until = int(arguments[arguments.index("--until") + 1])
        self.epoch, self.returncode = 0, None
        log.write(self.says.encode())
        yield self

    def poll(self):
        if self.epoch < min(self.until, len(self.curve)):
            self.epoch += 1
            rows = "".join(f"{n},{top1}\n" for n, top1 in enumerate(self.curve[: self.epoch], 1))
            (self.run / "history.csv").write_text("epoch,val_top1\n" + rows)
            return None
        if self.code == 0:
            (self.run / "metrics.json").write_text(json.dumps({"video_top1": self.video_top1}))
        self.returncode = self.code
        return self.code


@pytest.fixture
def play(monkeypatch, tmp_path, make_space):
    """`play(script, trial="0000", past=None, until=None, **tune)` runs a trial with scripted processes."""
    monkeypatch.setattr(trial_module, "POLL", 0.0)

    def play(script, trial="0000", past=None, until=None, on_glimpse=lambda glimpse: None, oracle="grid", **tune):
        monkeypatch.setattr(trial_module, "training_process", script.process)
        runner = TrialRunner(tmp_path, make_space(oracle, epochs=4, **tune), on_glimpse)
        return runner.run(trial, {"model.attention": False}, past=past, until=until)

    return play


def test_a_trial_has_a_training_for_each_seed_and_the_mean_of_their_scores(play, tmp_path):
    script = Scripted([0.1, 0.2, 0.3, 0.4])
    outcome = play(script, seeds=2)
    assert (outcome.status, outcome.scores, outcome.epochs) == ("done", (0.8, 0.8), 4)
    configs = [(tmp_path / "0000" / f"seed-{n}.yaml").read_text() for n in range(2)]
    assert ["seed: 0" in configs[0], "seed: 1" in configs[1], "attention: false" in configs[0]] == [True] * 3
    # Checkpoints are three times the size of the network, and what they are for is done.
    assert not (tmp_path / "0000" / "seed-0" / "checkpoints").exists()


def test_what_is_finished_is_not_trained_again(play):
    play(Scripted([0.1] * 4, video_top1=0.7))
    again = Scripted([0.1] * 4, video_top1=0.9)
    outcome = play(again, seeds=2)
    assert len(again.commands) == 1 and outcome.scores == (0.7, 0.9)


def test_a_glimpse_of_each_epoch_is_given(play):
    glimpses = []
    play(Scripted([0.1, 0.2, 0.3, 0.4]), on_glimpse=glimpses.append)
    assert glimpses == [Glimpse(0, epoch, 4, epoch / 10) for epoch in (1, 2, 3, 4)]


def test_a_training_worse_than_the_median_is_ended_early(play):
    for number, top1 in enumerate((0.5, 0.6, 0.7)):
        play(Scripted([top1] * 4), trial=f"000{number}")
    outcome = play(Scripted([0.55, 0.55, 0.55, 0.9]), trial="0003", stop_early=2, seeds=2)
    assert (outcome.status, outcome.scores, outcome.epochs) == ("stopped", (0.55,), 2)
    assert play(Scripted([0.1, 0.1, 0.9, 0.9]), trial="0004").status == "done"
    assert play(Scripted([0.1, 0.1, 0.1, 0.9]), trial="0005", stop_early=4).status == "done"


@pytest.mark.parametrize(
    ("code", "says", "words"),
    [
        (1, "INFO: hello\nError: the loss became nan\n", "the loss became nan"),
        (1, "no error line", "ended with code 1; see"),
        (-signal.SIGKILL, "", "memory ran out"),
        (-signal.SIGSEGV, "", "ended by SIGSEGV; see"),
    ],
)
def test_a_failure_is_told_with_its_reason_and_the_epoch_it_reached(play, code, says, words):
    outcome = play(Scripted([0.1], code, says), seeds=2)
    assert (outcome.status, outcome.scores, outcome.epochs) == ("failed", (), 1)
    assert words in outcome.reason and "Error:" not in outcome.reason


def test_values_that_do_not_go_together_fail_the_trial_alone(tmp_path, make_space):
    space = make_space(space={"training.learning_rate": {"choice": [0.1, 0.2]}})
    outcome = TrialRunner(tmp_path, space).run("0000", {"training.learning_rate": -1.0})
    assert outcome.status == "failed" and "training.learning_rate" in outcome.reason


def test_hyperband_goes_on_with_a_copy_of_the_shorter_training(play, tmp_path):
    play(Scripted([0.1, 0.2]), until=2, oracle="hyperband")
    (tmp_path / "0000" / "seed-0" / "checkpoints" / "epoch-2").write_text("weights")
    longer = Scripted([0.1, 0.2, 0.3, 0.4])
    outcome = play(longer, trial="0001", past="0000", until=4, oracle="hyperband")
    assert outcome.epochs == 4 and "--resume" in longer.commands[0]
    assert (tmp_path / "0001" / "seed-0" / "checkpoints" / "epoch-2").read_text() == "weights"
    assert (tmp_path / "0000" / "seed-0" / "metrics.json").exists()

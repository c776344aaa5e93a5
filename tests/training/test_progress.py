"""What a person sees while a network trains."""

from __future__ import annotations

import io
import itertools
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from kresp3d.training import progress
from kresp3d.training.progress import _HEADER, TrainingDisplay, epoch_row

LOGS = {"loss": 1.2345, "top1": 0.5, "val_loss": 2.0, "val_top1": 0.25, "learning_rate": 0.05}


@pytest.fixture(autouse=True)
def steady_clock(monkeypatch):
    """A second passes between two looks at the clock."""
    seconds = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))


def shown(*, terminal, epochs=2, logs=LOGS):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=80, _environ={"TERM": "xterm" if terminal else "dumb"})
    display = TrainingDisplay(epochs, 60, console)
    display.set_params({"steps": 3})
    display.set_model(SimpleNamespace())
    display.on_train_begin()
    for epoch in range(epochs):
        display.on_epoch_begin(epoch)
        for step in range(3):
            display.on_train_batch_end(step, {"loss": 1.5})
        display.on_epoch_end(epoch, logs)
    display.on_train_end()
    return file.getvalue()


def test_a_log_has_one_row_an_epoch_and_no_control_codes():
    text = shown(terminal=False)
    header, *rows = text.splitlines()
    assert header == _HEADER and len(rows) == 2
    assert all(char.isprintable() or char == "\n" for char in text)
    assert [row.split()[0] for row in rows] == ["1/2", "2/2"]
    assert rows[1].split()[1:6] == ["1.234", "0.500", "2.000", "0.250", "0.0500"]
    # 60 clips in 3 s; 6 looks at the clock in an epoch.
    assert [row.split()[6:] for row in rows] == [["20.0", "0:05", "0:05"], ["20.0", "0:10", "0:00"]]


def test_a_log_of_slow_steps_says_how_far_the_epoch_is(monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 1.5)
    assert re.findall(r"step \d of 3, loss 1\.500", shown(terminal=False, epochs=1)) == ["step 2 of 3, loss 1.500"]
    assert "step" not in re.sub(r"\d steps", "", shown(terminal=False, epochs=1).replace("step 2 of 3", ""))


def test_a_terminal_shows_a_bar_and_takes_it_away():
    text = shown(terminal=True)
    assert "\x1b[" in text and "3/3" in text and "loss 1.500" in text
    # What stays when the codes that go back and erase are followed.
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.split("\x1b[2K")[-1]) for line in text.split("\n")]
    assert [line.split()[0] for line in lines if re.match(r" +\d/2 +1\.23", line)] == ["1/2", "2/2"]


@pytest.mark.parametrize(
    ("epoch", "epochs", "logs", "speed", "seconds"),
    [
        (1, 2, LOGS, 3.21, 5.0),
        (100, 100, LOGS, 12345.6, 359990.0),
        (7, 1000, {"loss": 10.5, "top1": 1.0}, 0.5, 36000.0),
    ],
)
def test_columns_stand_below_their_titles_in_80_characters(epoch, epochs, logs, speed, seconds):
    row = epoch_row(epoch, epochs, logs, speed, seconds, seconds)
    assert len(row) <= 80 and len(_HEADER) <= 80
    ends = [match.end() for match in re.finditer(r"val loss|val top-1|\S+", _HEADER)]
    cells = [match.end() for match in re.finditer(r"\S+", row)]
    assert len(cells) == len(ends) == 9
    # "epoch" stands over the slash; numbers end where their titles end.
    assert cells[1:] == ends[1:]

"""How a sweep shows itself: a live table on a terminal, a line for each trial elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from kresp3d.evaluation.figures import percent
from kresp3d.experiments.reported import say
from kresp3d.experiments.tuning.effects import Trial, rank, read_trials
from kresp3d.experiments.tuning.journal import Ended, Journal, Outcome
from kresp3d.experiments.tuning.space import SearchSpace, show
from kresp3d.experiments.tuning.trial import Glimpse
from kresp3d.system.text import clock
from kresp3d.ui.live_view import LiveView

#: Finished trials on a terminal: the last ones.
_ROWS = 12


class SweepDisplay(LiveView):
    """Shows the trials of a journal.

    Args:
        journal: The sweep's.
        space: The search space.
        total: Trials in all, as far as known.
        console: Where to print.
    """

    def __init__(self, journal: Journal, space: SearchSpace, total: int, console: Console) -> None:
        super().__init__(console)
        self.journal = journal
        self.space = space
        self.total = total
        self._began = time.monotonic()
        self._done_before = self._printed = sum(trial.has_ended for trial in self._trials())
        self._begun: dict[str, float] = {}
        self._glimpse: Glimpse | None = None
        # The whole words of a key only where two keys end alike.
        names = [key.rpartition(".")[2] for key in space.dimensions]
        self._names = {
            key: key if names.count(name) > 1 else name for key, name in zip(space.dimensions, names, strict=True)
        }

    def on_event(self) -> None:
        """Show what was written into the journal."""
        trials = self._trials()
        for trial in trials:
            if not trial.has_ended:
                self._begun.setdefault(trial.name, time.monotonic())
        self._glimpse = None
        if self.redraw():
            return
        ended = [trial for trial in trials if trial.has_ended]
        if len(ended) > self._printed:
            self._printed = len(ended)
            last = next(event.trial for event in reversed(self.journal.events) if isinstance(event, Ended))
            line = self._line(next(trial for trial in ended if trial.name == last))
            say(self.console, f"{line}; {self._standing(trials)}")

    def on_glimpse(self, glimpse: Glimpse) -> None:
        """Show how far the trial is that this process runs."""
        self._glimpse = glimpse

    def _trials(self) -> list[Trial]:
        return read_trials(self.journal.trials(), self.space)

    def _line(self, trial: Trial) -> str:
        settings = " ".join(f"{self._names[key]}={show(value)}" for key, value in trial.settings.items())
        assert trial.outcome is not None
        return f"{trial.name}  {settings}  {_result(trial.outcome)}, {clock(trial.outcome.seconds)}"

    def _standing(self, trials: Sequence[Trial]) -> str:
        ended = sum(trial.has_ended for trial in trials)
        words = [f"{ended} of {self.total} trials"]
        if best := rank(trials)[:1]:
            words.append(f"best {percent(best[0].score or 0.0)} ({best[0].name})")
        here = ended - self._done_before
        if here and ended < self.total:
            words.append(f"{clock((time.monotonic() - self._began) / here * (self.total - ended))} left")
        return ", ".join(words)

    def render(self) -> Group:
        """The table of the trials."""
        trials = self._trials()
        best = rank(trials)[:1]
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("trial")
        for name in self._names.values():
            table.add_column(Text(name), overflow="fold")
        for name in ("video top-1", "time"):
            table.add_column(name, justify="right")
        ended = [trial for trial in trials if trial.has_ended]
        shown = ended[-_ROWS:]
        if best and best[0] not in shown:
            shown = [best[0], *shown[1:]]
        for trial in [*shown, *(trial for trial in trials if not trial.has_ended)]:
            style = "green" if best and trial.name == best[0].name else "dim" if trial.score is None else ""
            table.add_row(*self._row(trial), style=style)
        failed = [trial for trial in ended if trial.outcome is not None and trial.outcome.status == "failed"][-1:]
        why = [Text(f"{trial.name} {_result(trial.outcome)}", style="red") for trial in failed if trial.outcome]
        return Group(table, *why, Text(self._standing(trials), style="bold"))

    def _row(self, trial: Trial) -> list[Text]:
        settings = [show(trial.settings[key]) if key in trial.settings else "–" for key in self._names]
        outcome = trial.outcome
        if outcome is not None and trial.has_ended:
            words = _result(outcome) if outcome.status == "done" else outcome.status
            return [Text(cell) for cell in (trial.name, *settings, words, clock(outcome.seconds))]
        glimpse = self._glimpse
        now = "" if glimpse is None else f"epoch {glimpse.epoch}/{glimpse.epochs}"
        seconds = time.monotonic() - self._begun.setdefault(trial.name, time.monotonic())
        return [Text(cell) for cell in (trial.name, *settings, now, clock(seconds))]


def _result(outcome: Outcome) -> str:
    if outcome.status == "failed":
        return f"failed: {outcome.reason}"
    assert outcome.score is not None
    if outcome.status == "stopped":
        return f"ended early after epoch {outcome.epochs}"
    spread = "" if outcome.spread is None else f" ± {100 * outcome.spread:.1f}"
    return percent(outcome.score) + spread

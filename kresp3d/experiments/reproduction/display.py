"""How a reproduction shows itself: a live table on a terminal, a line for each training elsewhere; the results last."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from kresp3d.evaluation.figures import percent
from kresp3d.experiments.reproduction.claims import Judgement
from kresp3d.experiments.reproduction.report import (
    detectable_words,
    finished_words,
    interval,
    measured,
    p_value,
    points,
)
from kresp3d.experiments.reproduction.results import MEASURES, Result, Results
from kresp3d.experiments.reproduction.runner import Runner
from kresp3d.experiments.reproduction.tables import find_table
from kresp3d.system.text import clock
from kresp3d.ui.live_view import LiveView

_STYLES = {"supported": "green", "not supported": "red", "undecided": "yellow"}


class ReproductionDisplay(LiveView):
    """Shows how far a reproduction is.

    Args:
        runner: What trains.
        console: Where to print.
    """

    def __init__(self, runner: Runner, console: Console) -> None:
        super().__init__(console)
        self.runner = runner
        self._began = time.monotonic()
        self._results = runner.results()
        self._ended_before = len(self._results.with_status("done"))

    def show(self, results: Results) -> None:
        """Show a new state."""
        before = {(result.row, result.seed): result.status for result in self._results.trainings}
        self._results = results
        if self.redraw():
            return
        for result in results.with_status("done", "failed"):
            if before.get((result.row, result.seed)) != result.status:
                line = f"{result.row} seed {result.seed}  {_outcome(result)}; {self._standing()}"
                self.console.print(line, soft_wrap=True, markup=False)

    def _standing(self) -> str:
        results = self._results
        ended = len(results.with_status("done", "failed"))
        words = [finished_words(results)]
        here, left = ended - self._ended_before, len(results.trainings) - ended
        if here and left:
            words.append(f"{clock((time.monotonic() - self._began) / here * left)} left")
        return ", ".join(words)

    def render(self) -> Group:
        """The table of the trainings."""
        results = self._results
        epochs = results.base.training.epochs
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("row")
        for seed in results.seeds:
            table.add_column(f"seed {seed}", justify="right")
        table.add_column("mean", justify="right")
        found = {(result.row, result.seed): result for result in results.trainings}
        for row in results.rows:
            cells = [_cell(found.get((row, seed)), epochs) for seed in results.seeds]
            table.add_row(row, *cells, measured(results.mean(row)))
        failed = [
            Text(f"{r.row} seed {r.seed}  {_outcome(r)}", style="red") for r in results.with_status("failed")[-2:]
        ]
        running = time.monotonic() - self._began
        return Group(table, *failed, Text(f"{self._standing()}; {clock(running)} gone", style="bold"))


def _cell(result: Result | None, epochs: int) -> Text:
    if result is None or result.status == "waiting":
        return Text("·", style="dim")
    if result.status == "done":
        assert result.scores is not None and result.scores["video_top1"] is not None
        return Text(f"{100 * result.scores['video_top1']:.1f}", style="green")
    if result.status == "failed":
        return Text("failed", style="red")
    return Text(f"{result.epochs}/{epochs}", style="" if result.status == "running" else "dim")


def _outcome(result: Result) -> str:
    if result.status == "failed":
        return f"failed: {result.reason}"
    assert result.scores is not None
    return f"video top-1 {percent(result.scores['video_top1'])}, {result.epochs} epochs in {clock(result.seconds)}"


def print_results(console: Console, results: Results, judgements: Sequence[Judgement]) -> None:
    """Print the tables and the claims, in up to 100 columns."""
    for number in results.tables:
        split = results.base.evaluation.split
        console.print(Text(f"Table {number}: {find_table(number).title}; {split} split, percent", style="bold"))
        console.print(_score_table(number, results))
        console.print()
    for judgement in judgements:
        title = Text.assemble(
            (f"Table {judgement.claim.table}: {judgement.claim.words}: ", "bold"),
            (judgement.verdict, f"bold {_STYLES[judgement.verdict]}"),
        )
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("points of video top-1", no_wrap=True)
        for name in ("paper", "here", "90 % interval", "p", "n"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("")
        for comparison in judgement.comparisons:
            table.add_row(
                f"{comparison.better} − {comparison.worse}",
                points(comparison.paper),
                points(comparison.mean),
                interval(comparison),
                p_value(comparison.p),
                str(len(comparison.differences)),
                Text(comparison.verdict, style=_STYLES[comparison.verdict]),
            )
        console.print(title)
        console.print(table)
        for comparison in judgement.comparisons:
            if comparison.reason:
                console.print(f"{comparison.better} − {comparison.worse}: {comparison.reason}", style="dim")
        console.print()
    console.print(detectable_words(results, judgements).replace("*", ""))


def _score_table(number: int, results: Results) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("row", no_wrap=True)
    for name in ("seeds", "clip\ntop-1", "clip\ntop-5", "video\ntop-1", "video\ntop-5", "the\npaper"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in find_table(number).entries:
        means = {name: results.mean(entry.row, name) for name in MEASURES}
        # The spread of top-5 is in the report; here it would make the lines too long.
        cells = [measured(mean, with_spread=name.endswith("top1")) for name, mean in means.items()]
        table.add_row(entry.row, str(len(results.mean(entry.row).values)), *cells, f"{100 * entry.top1:.1f}")
    return table

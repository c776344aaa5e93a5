"""How a cross-validation shows itself: a live table on a terminal, a line for each fold elsewhere; the result last."""

from __future__ import annotations

import time

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from kresp3d.evaluation.figures import percent
from kresp3d.experiments.crossvalidation.report import measured
from kresp3d.experiments.crossvalidation.results import MEASURES, FoldResult, Results
from kresp3d.experiments.crossvalidation.runner import Runner
from kresp3d.system.text import clock, printable
from kresp3d.ui.live_view import LiveView


class CrossValidationDisplay(LiveView):
    """Shows how far a cross-validation is.

    Args:
        runner: What trains.
        console: Where to print.
    """

    def __init__(self, runner: Runner, console: Console) -> None:
        super().__init__(console)
        self._began = time.monotonic()
        self._results = runner.results()
        self._ended_before = len(self._results.with_status("done"))

    def show(self, results: Results) -> None:
        """Show a new state."""
        before = {result.fold: result.status for result in self._results.trainings}
        self._results = results
        if self.redraw():
            return
        for result in results.with_status("done", "failed"):
            if before.get(result.fold) != result.status:
                line = f"fold {result.fold}  {_outcome(result)}; {self._standing()}"
                self.console.print(line, soft_wrap=True, markup=False)

    def _standing(self) -> str:
        results = self._results
        ended = len(results.with_status("done", "failed"))
        words = [f"{len(results.with_status('done'))} of {len(results.trainings)} folds"]
        here, left = ended - self._ended_before, len(results.trainings) - ended
        if here and left:
            words.append(f"{clock((time.monotonic() - self._began) / here * left)} left")
        return ", ".join(words)

    def render(self) -> Group:
        """The table of the folds, and how it stands."""
        running = time.monotonic() - self._began
        return Group(fold_table(self._results), Text(f"{self._standing()}; {clock(running)} gone", style="bold"))


def fold_table(results: Results) -> Table:
    """A row for each fold and one for the mean."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, show_footer=True)
    table.add_column("fold", footer="mean ± sd")
    table.add_column("test videos", justify="right")
    for key, name in MEASURES.items():
        table.add_column(name, footer=measured(results, key), justify="right")
    if results.plan.has_groups:
        table.add_column("groups", overflow="ellipsis", no_wrap=True)
    for result in results.trainings:
        groups = [printable(", ".join(result.groups))] if results.plan.has_groups else []
        table.add_row(str(result.fold), str(result.videos["test"]), *_cells(result, results), *map(Text, groups))
    return table


def _cells(result: FoldResult, results: Results) -> list[Text]:
    if result.status == "done":
        return [Text(percent(value), style="green") for value in (result.video_top1, result.balanced_accuracy)]
    if result.status == "failed":
        return [Text("failed", style="red"), Text("")]
    if result.status == "waiting":
        return [Text("·", style="dim"), Text("")]
    style = "" if result.status == "running" else "dim"
    return [Text(f"{result.epochs}/{results.base.training.epochs}", style=style), Text("")]


def _outcome(result: FoldResult) -> str:
    if result.status == "failed":
        return f"failed: {result.reason}"
    return f"video top-1 {percent(result.video_top1)}, {result.epochs} epochs in {clock(result.seconds)}"

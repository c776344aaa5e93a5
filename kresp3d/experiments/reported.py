"""Running an experiment, with a view of it and a report that is written again whenever a training has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from rich.console import Console

from kresp3d.datasets.splits import count
from kresp3d.experiments.folder import ExperimentFolder
from kresp3d.experiments.jobs import Callback, Status, continue_command
from kresp3d.ui.live_view import LiveView


class Results(Protocol):
    """How the trainings of an experiment stand."""

    @property
    def trainings(self) -> Sequence[Any]:
        """All of them."""

    def with_status(self, *statuses: Status) -> Sequence[Any]:
        """The trainings of some statuses."""


R = TypeVar("R", bound=Results)
R_co = TypeVar("R_co", bound=Results, covariant=True)


class Runner(Protocol[R_co]):
    """What trains."""

    def results(self) -> R_co:
        """How the trainings stand."""

    def run(self, *, on_epoch: Callback, on_change: Callback) -> None:
        """Train what is not done."""


def run_reported(
    runner: Runner[R],
    folder: ExperimentFolder,
    view: LiveView,
    show: Callable[[R], None],
    write: Callable[[R], object],
    command: str,
    console: Console,
) -> R:
    """Run what is not done yet.

    Args:
        runner: What trains.
        folder: Where it works.
        view: What a terminal keeps drawing.
        show: Shows a new state in it.
        write: Writes the report of a state.
        command: The command line, for how to go on.
        console: Where to print.

    Returns:
        How the trainings stand in the end, which the last report shows.
    """
    results = runner.results()
    left = len(results.trainings) - len(results.with_status("done"))
    say(console, f"{count(len(results.trainings), 'training')}, {left} to do, in {folder.path}")
    reported = -1

    with view:

        def on_change() -> None:
            nonlocal reported
            results = runner.results()
            show(results)
            ended = len(results.with_status("done", "failed"))
            if ended != reported:
                reported = ended
                write(results)

        try:
            runner.run(on_epoch=lambda: show(runner.results()), on_change=on_change)
        except KeyboardInterrupt:
            write(runner.results())
            say(console, f"Interrupted; go on with: {continue_command(command)}")
            raise
    results = runner.results()
    write(results)
    return results


def say(console: Console, sentence: str) -> None:
    """Print a sentence as it is, however long."""
    console.print(sentence, soft_wrap=True, markup=False, highlight=False)

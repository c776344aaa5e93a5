"""A reproduction from beginning to end."""

from __future__ import annotations

from rich.console import Console

from kresp3d.data.splits import count
from kresp3d.errors import KrespError
from kresp3d.reproduction.display import ReproductionDisplay, print_results
from kresp3d.reproduction.report import Facts, write_all
from kresp3d.reproduction.runner import Runner, continue_command


def reproduce(runner: Runner, facts: Facts, console: Console) -> None:
    """Run what is not done yet, with a report that is written anew whenever a training has ended.

    Args:
        runner: What trains, in a folder that has begun.
        facts: What the report says besides.
        console: Where progress and results are printed.

    Raises:
        KrespError: If a training failed; the others are run nevertheless.
    """
    results = runner.results()
    left = sum(result.status != "done" for result in results.trainings)
    _say(console, f"{count(len(results.trainings), 'training')}, {left} to do, in {runner.folder.path}")
    ended = -1

    with ReproductionDisplay(runner, console) as display:

        def on_change() -> None:
            nonlocal ended
            results = runner.results()
            display.show(results)
            now = len(results.with_status("done", "failed"))
            if now != ended:
                ended = now
                write_all(runner.folder, results, facts)

        runner.on_change = on_change
        runner.on_epoch = lambda: display.show(runner.results())
        try:
            runner.run()
        except KeyboardInterrupt:
            _say(console, f"Interrupted; go on with: {continue_command(facts.command)}")
            raise
        finally:
            results = runner.results()
            judgements = write_all(runner.folder, results, facts)
    print_results(console, results, judgements)
    _say(console, f"Report: {runner.folder.report_file}")
    if failed := results.with_status("failed"):
        first = failed[0]
        raise KrespError(
            f"{len(failed)} of {len(results.trainings)} trainings failed, such as {first.row} with seed {first.seed}: "
            f"{first.reason}; the others are in the report, and --resume tries again"
        )


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, soft_wrap=True, markup=False, highlight=False)

"""The two parts of a sweep: leading it, here or over workers, and working for a chief."""

from __future__ import annotations

import functools
from contextlib import ExitStack

from rich.console import Console

from kresp3d.experiments.tuning.cluster import Watch, wait_for_chief
from kresp3d.experiments.tuning.display import SweepDisplay
from kresp3d.experiments.tuning.effects import rank, read_trials
from kresp3d.experiments.tuning.journal import Journal
from kresp3d.experiments.tuning.oracle import count_trials, make_oracle, use_temporary_folder
from kresp3d.experiments.tuning.report import write_best, write_hparams, write_report, write_trials
from kresp3d.experiments.tuning.space import SearchSpace
from kresp3d.experiments.tuning.sweep import Sweep, SweepFolder
from kresp3d.experiments.tuning.trial import Glimpse, TrialRunner
from kresp3d.runs.run_folder import command_line
from kresp3d.system.address import Address
from kresp3d.system.errors import KrespError


def lead(
    folder: SweepFolder,
    space: SearchSpace,
    console: Console,
    *,
    address: Address | None = None,
    patience: float = 60.0,
) -> None:
    """Run a sweep from where its journal ends, and leave a report of it, also where it is interrupted.

    Args:
        folder: The sweep's, which has begun.
        space: The search space.
        console: Where progress is printed.
        address: Where to listen as a chief, whose workers run the trials; by default they run here.
        patience: Seconds without a sign after which a worker counts as gone.

    Raises:
        KrespError: If no trial ended well, or the journal is of another search.
    """
    journal = Journal(folder.journal_file)
    oracle = make_oracle(space)
    total = count_trials(space)
    display = SweepDisplay(journal, space, total, console)

    def on_event() -> None:
        write_trials(folder.path / "trials.csv", read_trials(journal.trials(), space), space)
        display.on_event()

    with use_temporary_folder(oracle) as scratch:
        oracle.begin(journal)
        oracle.on_event = on_event
        _say(console, f"{space.base.tune.oracle} over {', '.join(space.dimensions)}: {total} trials, in {folder.path}")
        sweep = Sweep(oracle, TrialRunner(folder.trials, space, display.on_glimpse), space, scratch)
        try:
            with display, ExitStack() as watched:
                if address is not None:
                    _say(console, f"The chief listens at {address}.")
                    watched.enter_context(Watch(oracle, patience, functools.partial(_say, console)))
                sweep.work()
            if oracle.failure is not None:
                raise oracle.failure
        except KeyboardInterrupt:
            _say(console, "Interrupted; go on with --resume.")
            raise
        finally:
            _write_results(folder, journal, space)
    ended = read_trials(journal.trials(), space)
    if not rank(ended):
        reasons = sorted({trial.outcome.reason for trial in ended if trial.outcome is not None} - {""})
        raise KrespError(f"no trial ended well: {'; '.join(reasons[:3])}")
    best = folder.path / "best.yaml"
    _say(console, f"Best: trial {rank(ended)[0].name}. Train it on its own: kresp3d train --config {best}")
    _say(console, f"Report: {folder.path / 'report.md'}")


def work(folder: SweepFolder, space: SearchSpace, address: Address, console: Console) -> None:
    """Run trials of a chief's until it has no more.

    Args:
        folder: Where the run folders of the trials go.
        space: The search space, which must be the chief's.
        address: The chief's.
        console: Where progress is printed.

    Raises:
        UsageError: If the chief has another configuration.
        KrespError: If the chief does not answer as it should.
    """

    def on_glimpse(glimpse: Glimpse) -> None:
        if glimpse.epoch == glimpse.epochs:
            done = f"{glimpse.epoch} epochs, validation clip top-1 {glimpse.top1:.3f}"
            _say(console, f"seed {glimpse.seed}: {done}")

    oracle = make_oracle(space)
    runner = TrialRunner(folder.trials, space, on_glimpse)
    say = functools.partial(_say, console)
    with use_temporary_folder(oracle) as scratch:
        Sweep(oracle, runner, space, scratch, lambda: wait_for_chief(address, say)).work()
    _say(console, "The chief has no more trials.")


def _write_results(folder: SweepFolder, journal: Journal, space: SearchSpace) -> None:
    trials = read_trials(journal.trials(), space)
    write_trials(folder.path / "trials.csv", trials, space)
    write_best(folder.path / "best.yaml", trials, space)
    write_hparams(folder.path / "logs", trials, space)
    seconds = sum(trial.outcome.seconds for trial in trials if trial.outcome is not None)
    write_report(folder.path, trials, space, command=command_line(), seconds=seconds)


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, soft_wrap=True, markup=False, highlight=False)

"""How long work shows itself: a bar with rate and time left on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

#: Seconds between two lines where the output is no terminal.
INTERVAL = 30.0


@contextmanager
def progress_bar(text: str, unit: str = "videos", *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show how far some work is, on stderr.

    Args:
        text: What is done, such as "Preparing".
        unit: What is counted, in the plural.
        quiet: Show nothing.

    Yields:
        A function to be called with the number done and the number of all. Nothing is shown before its first call;
        what is done by then does not count for the rate.
    """
    if quiet:
        yield lambda done, total: None
        return
    from kresp3d.ui.console import plain_console

    console = plain_console(stderr=True)
    if not console.is_terminal:
        yield _Lines(text, unit)
        return

    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f} {unit}/s" if task.speed else f"- {unit}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # What a pipe is to get must not be drawn above the bar.
    with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as progress:
        tasks: list[TaskID] = []

        def show(done: int, total: int) -> None:
            if tasks:
                progress.update(tasks[0], completed=done)
            else:
                tasks.append(progress.add_task(text, total=total, completed=done))

        yield show


@contextmanager
def progress_bars(units: Mapping[str, str]) -> Iterator[Callable[[str, int, int], None]]:
    """Show work of several parts, a bar for each in turn.

    Args:
        units: What is counted in each part, in the plural, by the part's name.

    Yields:
        A function to be called with the part, the number done and the number of all.
    """
    with ExitStack() as stack:
        shown: dict[str, Callable[[int, int], None]] = {}

        def show(part: str, done: int, total: int) -> None:
            if part not in shown:
                stack.close()
                shown[part] = stack.enter_context(progress_bar(part, units[part]))
            shown[part](done, total)

        yield show


class _Lines:
    def __init__(self, text: str, unit: str) -> None:
        self.text, self.unit = text, unit
        self.start: tuple[float, int] | None = None
        self.next = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.start is None:
            self.start, self.next = (now, done), now + INTERVAL
        if now < self.next and done < total:
            return
        self.next = now + INTERVAL
        rate = (done - self.start[1]) / max(now - self.start[0], 1e-9)
        left = f", {rate:.1f}/s, {(total - done) / rate / 60:.0f} min left" if rate and done < total else ""
        print(f"{self.text}: {done} of {total} {self.unit}{left}", file=sys.stderr, flush=True)

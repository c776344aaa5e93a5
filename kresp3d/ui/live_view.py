"""A view of long work that a terminal keeps drawing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live


class LiveView(ABC):
    """Drawn twice a second on a terminal, within the `with` block; not drawn at all elsewhere.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None

    @abstractmethod
    def render(self) -> RenderableType:
        """What is to be seen now."""

    def redraw(self) -> bool:
        """Draw at once; `False` where nothing is drawn, so that a line may be printed instead."""
        if self._live is None:
            return False
        self._live.refresh()
        return True

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(console=self.console, get_renderable=self.render, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            # The last state stays on the screen.
            self._live.refresh()
            self._live.stop()

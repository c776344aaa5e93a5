from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from kresp3d.ui.live_view import LiveView


class Counter(LiveView):
    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.count = 0

    def render(self) -> Text:
        return Text(f"count {self.count}")


def show(*, is_terminal: bool) -> tuple[list[bool], str]:
    out = io.StringIO()
    drawn = []
    with Counter(Console(file=out, force_terminal=is_terminal, color_system=None)) as view:
        for view.count in (3, 7):
            drawn.append(view.redraw())
        view.count = 9
    return drawn, out.getvalue()


def test_a_terminal_is_drawn_at_once_and_keeps_the_last_state():
    drawn, text = show(is_terminal=True)
    assert drawn == [True, True]
    assert "count 3" in text and "count 7" in text
    assert text.rindex("count 9") > text.rindex("count 7")


def test_elsewhere_nothing_is_drawn():
    assert show(is_terminal=False) == ([False, False], "")

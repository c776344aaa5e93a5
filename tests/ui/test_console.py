from __future__ import annotations

from kresp3d.ui.console import plain_console


def test_text_is_shown_as_it_is(capsys):
    # rich would take the first for the end of a style, and the second for a picture.
    plain_console().print("[/x] :smile: [bold]")
    assert capsys.readouterr().out == "[/x] :smile: [bold]\n"

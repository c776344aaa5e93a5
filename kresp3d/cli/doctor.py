"""`kresp3d doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import json_option

if TYPE_CHECKING:
    from kresp3d.api.doctor import Check


@click.command("doctor")
@json_option("Write the checks here.")
@click.pass_context
def command(ctx: click.Context, json_file: Path | None) -> None:
    """Say what works on this machine, and what to do about the rest.

    Exits with 1 if something fails that kresp3d cannot do without.
    """
    from kresp3d.api.doctor import run_checks, worst

    checks = run_checks(Path.cwd())
    status = worst(checks)
    if json_file is not None:
        import dataclasses
        import json

        from kresp3d.system.files import write_text

        values = {"status": status, "checks": [dataclasses.asdict(check) for check in checks]}
        write_text(json_file, json.dumps(values, indent=2) + "\n")
    _print(checks)
    click.echo(
        {
            "ok": "Everything works.",
            "warn": "Everything necessary works.",
            "fail": "Something necessary does not work; see the lines marked FAIL.",
        }[status]
    )
    ctx.exit(1 if status == "fail" else 0)


def _print(checks: list[Check]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from kresp3d.ui.console import plain_console

    marks = {"ok": ("ok", "green"), "none": ("-", "dim"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}
    table = Table(box=box.SIMPLE, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    part = ""
    for check in checks:
        if check.part != part and part:
            table.add_section()
        found = Text(check.found)
        if check.advice:
            found.append(f"\n-> {check.advice}", style="italic")
        title = check.part.capitalize() if check.part != part else ""
        table.add_row(Text(title, style="bold"), Text(*marks[check.status]), check.name, found)
        part = check.part
    plain_console().print(table)

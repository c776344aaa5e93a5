"""`kresp3d doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kresp3d.api.doctor import Check


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Say what works on this machine, and what to do about the rest.

    Exits with 1 if something fails that kresp3d cannot do without.
    """
    from pathlib import Path

    from kresp3d.api.doctor import run_checks, worst

    checks = run_checks(Path.cwd())
    status = worst(checks)
    if as_json:
        import dataclasses
        import json

        click.echo(json.dumps({"status": status, "checks": [dataclasses.asdict(check) for check in checks]}, indent=2))
    else:
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

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
    Console().print(table)

"""`kresp3d config`: the configurations that come with kresp3d."""

from __future__ import annotations

from pathlib import Path

import click

from kresp3d.cli.options import ANYWHERE, FILE, check_output, override_option


@click.group("config")
def command() -> None:
    """List, show and copy the configurations that come with kresp3d.

    Each command that takes --config takes their names, in any folder.
    """


@command.command("list")
def list_configs() -> None:
    """Name the configurations, and say what each is for.

    Into a pipe or a file goes one line for each: the name, a tab, and the rest.
    """
    import sys

    from kresp3d.config.load import first_comment, packaged_configs

    rows = [(name, first_comment(path)) for name, path in packaged_configs().items()]
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return

    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from kresp3d.ui.console import plain_console

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("what it is for")
    folder = ""
    for name, purpose in rows:
        if name.rpartition("/")[0] != folder:
            table.add_section()
            folder = name.rpartition("/")[0]
        table.add_row(name, purpose)
    plain_console().print(table)


@command.command()
@click.argument("name", type=ANYWHERE)
@click.option("--resolved", is_flag=True, help="Show every key, with what the file extends and the defaults.")
@override_option
def show(name: Path, resolved: bool, overrides: tuple[str, ...]) -> None:
    """Show a configuration as it is written.

    NAME may also be a file. With --set, every key is shown, as with --resolved.
    """
    if resolved or overrides:
        from kresp3d.config.schema import load_config

        click.echo(load_config(name, overrides).to_yaml(), nl=False)
        return

    from kresp3d.config.load import find_config

    click.echo(find_config(name).read_bytes(), nl=False)


@command.command()
@click.argument("name")
@click.argument("file", type=FILE)
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
def copy(name: str, file: Path, overwrite: bool) -> None:
    """Copy a configuration, to change it.

    The copy works in any folder: what it extends is written as a name. It is called after its file, and so is the
    folder of its runs.
    """
    import re

    from kresp3d.config.load import detached_text
    from kresp3d.system.files import write_text

    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).lstrip("._-") or "run"
    text = detached_text(name, stem)
    check_output(file, overwrite)
    write_text(file, text)
    click.echo(f"Wrote {file}; use it by --config {file}")

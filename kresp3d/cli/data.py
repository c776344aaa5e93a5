"""`kresp3d data`: render, prepare, check and look at videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import ANYWHERE, HERE, check_output, config_options, runner_options
from kresp3d.system.errors import KrespError
from kresp3d.ui.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from kresp3d.config.schema import Config, DataConfig
    from kresp3d.datasets.inspect import Spread, Stats
    from kresp3d.training.plan import Choice


@click.group("data")
def command() -> None:
    """Render, prepare, check and look at videos."""


@command.command()
@config_options()
@click.option("--overwrite", is_flag=True, help="Write all records anew, also over those of other videos or settings.")
@runner_options
def prepare(config: Config, overwrite: bool, runner: str | None, beam: tuple[str, ...]) -> None:
    """Turn videos into TFRecord shards of JPEG frames, for training.

    May be interrupted and run again: it goes on where it was. It does nothing where nothing changed. Videos that
    cannot be decoded are skipped and listed in prepare-report.csv, in the folder of the records.

    With --runner, workers of a pipeline do it, which must see the folder of the records; data.videos may then be a
    folder class/video on any of Beam's file systems.
    """
    from kresp3d.records.prepare import REPORT
    from kresp3d.records.prepare import prepare as prepare_records
    from kresp3d.system.errors import UsageError

    if runner is not None:
        from kresp3d.distributed.beam.pipeline import pipeline_options

        options = pipeline_options(runner, beam)
        from kresp3d.distributed.beam.prepare import prepare_on

        records = prepare_on(options, _resolve(_split(config)[0]), overwrite=overwrite)
    elif beam:
        raise UsageError("--beam is for a pipeline; name its --runner too, such as DirectRunner")
    else:
        data = _resolve(_split(config)[0])
        with progress_bar("Preparing") as progress:
            records = prepare_records(data, overwrite=overwrite, progress=progress)
    counts = ", ".join(f"{count} {name}" for name, count in records.index["splits"].items())
    size = sum(records.index["shards"].values()) / 2**20
    click.echo(
        f"{records.folder}: {len(records.videos)} videos of {len(records.classes)} classes ({counts}), {size:.0f} MiB"
    )
    if records.index["bad"]:
        click.echo(f"{records.index['bad']} could not be decoded; see {records.folder / REPORT}")


@command.command()
@config_options()
@click.option("--report", type=ANYWHERE, metavar="FILE", help="Write the bad videos to a CSV file.")
@click.option("--overwrite", is_flag=True, help="Replace the report if it is there.")
def check(config: Config, report: Path | None, overwrite: bool) -> None:
    """List videos that cannot be decoded.

    Decodes every video wholly, as prepare does, and says what is wrong. Exit code 1 if they are more than data.max_bad.
    """
    from rich.table import Table

    from kresp3d.datasets.inspect import check as check_videos
    from kresp3d.system.files import write_csv

    if report is not None:
        check_output(report, overwrite)
    data = _resolve(config)
    with progress_bar("Checking") as progress:
        bad, total = check_videos(data, progress=progress)
    if bad:
        table = Table("video", "reason")
        for video in bad:
            table.add_row(video.name, video.reason)
        _console().print(table)
    if report is not None:
        write_csv(report, ("name", "reason"), ((video.name, video.reason) for video in bad))
    click.echo(f"{total - len(bad)} of {total} videos can be decoded")
    if len(bad) > data.max_bad * total:
        raise KrespError(f"{len(bad)} of {total} videos are bad, more than data.max_bad allows ({data.max_bad:.2%})")


@command.command()
@config_options()
def stats(config: Config) -> None:
    """Show classes, splits, lengths and sizes, how the videos would be trained, and what would help.

    Also names groups that are on both sides of a split. Reads the headers of the videos and needs no records.
    """
    from kresp3d.api.suggest import suggested
    from kresp3d.cli.suggest import show, shown_below
    from kresp3d.datasets.inspect import read_facts, summarise
    from kresp3d.datasets.splits import count, shorten

    config, settled = _split(config)
    data = _resolve(config)
    with shown_below(), progress_bar("Reading") as progress:
        facts, classes, bad = read_facts(data, progress=progress)
    found = summarise(facts, classes, bad)
    _console().print(_table(found))
    click.echo(f"{found.hours:.2f} hours; {_spread(found.frames, '.0f')} frames at {data.fps:g} fps (min/median/max)")
    sizes = [f"{width}×{height}: {number}" for (width, height), number in found.sizes]
    more = f", and {len(sizes) - SIZES_SHOWN} other sizes" if len(sizes) > SIZES_SHOWN else ""
    click.echo(f"picture sizes: {', '.join(sizes[:SIZES_SHOWN])}{more}")
    if not found.shared:
        click.echo("no group is in two splits" if any(found.groups.values()) else "groups are not known")
    for (first, second), names in found.shared.items():
        groups = f"{count(len(names), 'group')} both in {first} and in {second}"
        click.echo(f"{groups}, which makes {second} too easy: {shorten(sorted(names))}")
    if found.bad:
        first_bad = found.bad[0]
        click.echo(f"{count(len(found.bad), 'video')} cannot be opened, such as {first_bad.name}: {first_bad.reason}")
    click.echo()
    try:
        suggestion = suggested(config, facts, classes, first=settled)
    except KrespError as error:
        # There are figures, but nothing to plan by.
        click.echo(error)
        return
    show(suggestion, _console())


@command.command()
@config_options(required=False)
@click.option("--out", type=HERE, metavar="DIR", help="[default: below data.cache]")
@click.option("--sheet", type=HERE, metavar="FILE", help="Also draw each action as a row of a PNG.")
@click.option("--overwrite", is_flag=True, help="Replace a dataset of other settings, and the sheet.")
def synth(config: Config, out: Path | None, sheet: Path | None, overwrite: bool) -> None:
    """Render the embedded dataset.

    A figure doing ten actions that differ by motion only. Commands that need the videos render them themselves; this
    is for looking at them.
    """
    from kresp3d.datasets.source import synthetic_folder
    from kresp3d.datasets.synthetic.dataset import write_contact_sheet, write_dataset

    if sheet is not None:
        check_output(sheet, overwrite)
    folder = out or synthetic_folder(config.data)
    with progress_bar("Rendering") as progress:
        write_dataset(
            folder, config.data.synthetic, workers=config.data.workers, overwrite=overwrite, progress=progress
        )
    click.echo(f"{folder}")
    if sheet is not None:
        click.echo(f"{write_contact_sheet(sheet, config.data.synthetic)}")


@command.command()
@click.option(
    "--dispatcher",
    metavar="HOST:PORT",
    help="Be a worker of the dispatcher there.  [default: be a dispatcher]",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Where to listen.  [default: 5050; for a worker, any]")
@click.option(
    "--host", metavar="NAME", help="By which name a worker is reached.  [default: its address towards the dispatcher]"
)
def serve(dispatcher: str | None, port: int | None, host: str | None) -> None:
    """Read, decode and augment training clips for other hosts, which train with data.service.

    There is one dispatcher, and any number of workers, which must see the records under the same name. They run until
    they are ended.
    """
    from kresp3d.system.address import Address
    from kresp3d.system.errors import UsageError

    address = None if dispatcher is None else Address.parse(dispatcher.removeprefix("grpc://"), "--dispatcher")
    if address is None and host is not None:
        raise UsageError("--host is for workers; name the dispatcher too, by --dispatcher HOST:PORT")

    from kresp3d.distributed.clip_service import serve as serve_clips

    serve_clips((5050 if address is None else 0) if port is None else port, address, host, click.echo)


#: Of the picture sizes, the most common are shown.
SIZES_SHOWN = 5


def _split(config: Config) -> tuple[Config, tuple[Choice, ...]]:
    """The configuration in which it is settled how many videos are for validation."""
    from kresp3d.training.preparation import split_settled

    return split_settled(config)


def _resolve(config: Config) -> DataConfig:
    """The data part of a configuration, its embedded videos rendered."""
    from kresp3d.datasets.source import resolve_videos

    with progress_bar("Rendering") as progress:
        return resolve_videos(config.data, progress=progress)


def _console() -> Console:
    from kresp3d.ui.console import plain_console

    # File names are text, whatever brackets and colons are in them.
    return plain_console()


def _table(stats: Stats) -> Table:
    from rich.table import Table

    from kresp3d.datasets.splits import SPLITS

    table = Table("class")
    for name in (*SPLITS, "all", "seconds (min/median/max)"):
        table.add_column(name, justify="right")
    for label in stats.classes:
        counts = [stats.videos[label][split] for split in SPLITS]
        table.add_row(label, *map(str, counts), str(sum(counts)), _spread(stats.seconds[label], ".1f"))
    table.add_section()
    totals = [sum(counts[split] for counts in stats.videos.values()) for split in SPLITS]
    table.add_row("all", *map(str, totals), str(sum(totals)), _spread(stats.all_seconds, ".1f"))
    groups = [stats.groups[split] for split in SPLITS]
    table.add_row("groups", *(str(len(names)) for names in groups), str(len(frozenset().union(*groups))))
    return table


def _spread(spread: Spread | None, form: str) -> str:
    return "-" if spread is None else "/".join(format(v, form) for v in (spread.low, spread.middle, spread.high))

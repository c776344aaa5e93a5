"""`kresp3d evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import ANYWHERE, HERE, json_option, precision_option

if TYPE_CHECKING:
    from kresp3d.inference.engine import Engine, Precision
    from kresp3d.runs.run_folder import RunFolder


@click.command(name="evaluate")
@click.argument("network", type=ANYWHERE)
@click.option("--split", type=click.Choice(["test", "validation", "train"]), help="[default: the configuration's]")
@click.option("--clips", type=click.IntRange(1), help="Clips of each video.  [default: the configuration's, 10]")
@click.option(
    "--run",
    "run_folder",
    type=ANYWHERE,
    metavar="RUN",
    help="Whose videos an exported network is measured on.  [default: the run it was made of]",
)
@click.option(
    "--recall-at-precision",
    "wanted_precision",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="For each class, find the lowest score from which on at least this share is right, such as 0.95.",
)
@click.option(
    "--positive",
    metavar="CLASS",
    help="Of two classes the one that is looked for, such as 'fight'.  [default: the rarer one in training]",
)
@click.option(
    "--videos",
    type=HERE,
    metavar="FOLDER|CSV",
    help="Measure on these labelled videos instead: a folder of CLASS/VIDEO, or a CSV file with path and label.",
)
@click.option("--skip-unknown", is_flag=True, help="Of --videos, leave out classes that the network does not know.")
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="A key of data for --videos, such as data.max_bad=0.1. May be repeated.",
)
@click.option(
    "--out", type=ANYWHERE, metavar="DIR", help="Where the report on --videos goes.  [default: evaluation-videos-…]"
)
@precision_option
@json_option("Write the figures here too.")
def command(
    network: Path,
    split: str | None,
    clips: int | None,
    run_folder: Path | None,
    wanted_precision: float | None,
    positive: str | None,
    videos: Path | None,
    skip_unknown: bool,
    overrides: tuple[str, ...],
    out: Path | None,
    precision: Precision,
    json_file: Path | None,
) -> None:
    """Measure a network, a run folder's or an exported one: clip and video accuracy, by class, by group and in all.

    Says whether it is better than chance, than always naming the most frequent class, and than 3 nearest neighbours.
    Writes metrics.json, report.md, tables and figures: into the run folder for the run's own network at its
    configuration's settings, otherwise into a folder evaluation-… beside what was measured.

    With --videos, the videos have nothing to do with a run: they are decoded as `kresp3d predict` does it, and --split
    takes those alone which their CSV file or folders say are of it.
    """
    from kresp3d.system.errors import UsageError
    from kresp3d.ui.console import plain_console

    if videos is None and (skip_unknown or overrides or out is not None):
        raise UsageError("--skip-unknown, --set and --out are for --videos; a run's videos are as it has them")
    if videos is not None and run_folder is not None:
        raise UsageError("--run and --videos exclude each other: both say which videos to measure on")
    if videos is not None and not videos.exists():
        raise UsageError(f"--videos: expected a folder of videos or a CSV file, but {videos} does not exist")

    from kresp3d.inference.open_engine import network_path, open_engine
    from kresp3d.runs.run_folder import RunFolder, command_line

    engine = open_engine(network, precision=precision)
    if videos is not None:
        _measure_videos(
            network,
            engine,
            videos,
            overrides,
            split,
            clips,
            skip_unknown,
            out,
            wanted_precision,
            positive,
            precision,
            json_file,
        )
        return
    is_run = (network / "config.yaml").is_file()
    if not is_run:
        # By its own name and place, also where it was given as `.` or as the folder of its versions.
        network = network_path(network.resolve())
    trained_in: RunFolder | None
    if run_folder is None:
        run = trained_in = RunFolder.open(network if is_run else _made_of(network, engine))
    else:
        run = RunFolder.open(run_folder)
        trained_in = RunFolder.open(network) if is_run else _find_source(network, engine, run)
    settings = run.config.evaluation
    split, clips = split or settings.split, clips or settings.clips
    is_main = is_run and run_folder is None and precision == "float32"
    is_main = is_main and (split, clips) == (settings.split, settings.clips)
    name = f"evaluation-{split}" + ("" if clips == settings.clips else f"-{clips}-clips")
    name += "" if precision == "float32" else f"-{precision}"
    # The report on another run's videos stands beside the one on the own run's.
    name += "" if run_folder is None else f"-on-{run.path.resolve().name}"
    folder = None if is_main else network / name if is_run else network.parent / f"{network.name}-{name}"

    from kresp3d.evaluation.measure import measure

    console = plain_console(soft_wrap=True)
    assessment = measure(
        run,
        engine,
        split,
        clips,
        console,
        command_line(),
        folder=folder,
        trained_in=trained_in,
        positive=positive,
        precision=wanted_precision,
    )
    if json_file is not None:
        from kresp3d.evaluation.report import write_metrics

        write_metrics(json_file, assessment)


def _measure_videos(
    network: Path,
    engine: Engine,
    videos: Path,
    overrides: tuple[str, ...],
    split: str | None,
    clips: int | None,
    skip_unknown: bool,
    out: Path | None,
    wanted_precision: float | None,
    positive: str | None,
    precision: Precision,
    json_file: Path | None,
) -> None:
    from kresp3d.evaluation.new_videos import measure_videos
    from kresp3d.inference.open_engine import network_path
    from kresp3d.inference.source import trained_in
    from kresp3d.runs.run_folder import command_line
    from kresp3d.ui.console import plain_console

    is_run = (network / "config.yaml").is_file()
    if not is_run:
        network = network_path(network.resolve())
    if out is None:
        name = f"evaluation-videos-{videos.resolve().stem}" + (f"-{split}" if split else "")
        name += "" if clips in (None, engine.info.clips) else f"-{clips}-clips"
        name += "" if precision == "float32" else f"-{precision}"
        out = network / name if is_run else network.parent / f"{network.name}-{name}"
    assessment = measure_videos(
        engine,
        videos,
        overrides,
        name=str(network),
        clips=clips,
        split=split,
        skip_unknown=skip_unknown,
        folder=out,
        trained_in=trained_in(network, engine.info),
        command=command_line(),
        console=plain_console(soft_wrap=True),
        positive=positive,
        precision=wanted_precision,
    )
    if json_file is not None:
        from kresp3d.evaluation.report import write_metrics

        write_metrics(json_file, assessment)


def _find_source(network: Path, engine: Engine, run: RunFolder) -> RunFolder | None:
    """The run of an exported network, if it is known and there as it was; `run` may be it, moved since."""
    from kresp3d.inference.source import trained_in
    from kresp3d.runs.network_info import sha256

    if run.model_file.is_file() and sha256(run.model_file) == engine.info.source:
        return run
    return trained_in(network, engine.info)


def _made_of(network: Path, engine: Engine) -> Path:
    """The run of an exported network.

    Raises:
        UsageError: If it is not known or gone, or holds another network by now, perhaps of other videos.
    """
    from kresp3d.inference.source import source_run
    from kresp3d.runs.network_info import sha256
    from kresp3d.runs.run_folder import RunFolder
    from kresp3d.system.errors import UsageError

    run = source_run(network)
    if run is None:
        raise UsageError(f"{network} does not say which run it was made of; name one whose videos to use by --run")
    if not run.is_dir():
        raise UsageError(f"{network} was made of {run}, which is gone; name a run whose videos to use by --run")
    trained = RunFolder(run).model_file
    if not trained.is_file() or sha256(trained) != engine.info.source:
        raise UsageError(
            f"{network} was made of a network that {run} no longer holds, as after a new training; name the run whose "
            "videos to use by --run"
        )
    return run

"""`kresp3d predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kresp3d.cli.options import ANYWHERE, json_option, precision_option, runner_options

if TYPE_CHECKING:
    from kresp3d.inference.engine import Precision


@click.command(name="predict")
@click.argument("network", type=ANYWHERE)
@click.argument("videos", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes shown for each video.")
@click.option("--clips", type=click.IntRange(1), help="Clips of each video.  [default: the network's, 10]")
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="That decoding a video may take.",
)
@json_option("Write the scores here.")
@precision_option
@runner_options
@click.option("--out", metavar="FILE.parquet", help="Where a pipeline writes the scores of all classes.")
def command(
    network: Path,
    videos: tuple[str, ...],
    top: int,
    clips: int | None,
    time_limit: float,
    json_file: Path | None,
    precision: Precision,
    runner: str | None,
    beam: tuple[str, ...],
    out: str | None,
) -> None:
    """Name the actions in videos, or in all videos of a folder.

    NETWORK is a run folder or an exported network: a SavedModel's folder, a .tflite, .xml or .onnx file.

    A video that cannot be decoded is reported and does not stop the rest; the exit code is then 1.

    With --runner, workers of a pipeline do it, and VIDEOS may be patterns on any of Beam's file systems, such as
    's3://bucket/videos/**.mp4'. What cannot be decoded is listed in FILE-bad.csv.
    """
    if runner is not None:
        _predict_on(runner, beam, network, videos, out, json_file, clips, precision, time_limit)
        return
    import json

    import kresp3d
    from kresp3d.inference.predictor import find_all
    from kresp3d.system.errors import UsageError, VideoError
    from kresp3d.system.files import write_text
    from kresp3d.system.storage import local
    from kresp3d.system.text import printable, utf8
    from kresp3d.ui.console import plain_console

    if beam or out:
        raise UsageError(
            "--beam and --out are for a pipeline; name its --runner too, such as DirectRunner, or use --json"
        )
    paths = find_all([local(video) for video in videos])

    from kresp3d.api.run import DECODING
    from kresp3d.ui.progress import progress_bar
    from kresp3d.video.workers import VideoWorkers

    console, rows, bad = plain_console(soft_wrap=True), [], 0
    # Started first, since they import while this process loads the network.
    with (
        VideoWorkers(len(paths), imports=DECODING, time_limit=time_limit) as workers,
        progress_bar("Predicting", "videos") as progress,
    ):
        run = kresp3d.load(network, precision=precision)
        found = run.predict_each(paths, clips=clips, workers=workers)
        for done, (path, result) in enumerate(zip(paths, found, strict=True), 1):
            row: dict[str, Any] = {"path": utf8(path)}
            if isinstance(result, VideoError):
                bad += 1
                row["error"] = result.reason
                click.echo(f"Cannot decode {result}", err=True)
            else:
                best = list(result.scores.items())[:top]
                row["top"] = [{"class": label, "score": score} for label, score in best]
                scores = ", ".join(f"{printable(label)} {score:.1%}" for label, score in best)
                console.print(f"{printable(path)}: {scores}", markup=False)
            rows.append(row)
            progress(done, len(paths))
    if json_file is not None:
        write_text(json_file, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    if bad:
        raise click.ClickException(f"{bad} of {len(paths)} videos could not be decoded")


def _predict_on(
    runner: str,
    beam: tuple[str, ...],
    network: Path,
    videos: tuple[str, ...],
    out: str | None,
    json_file: Path | None,
    clips: int | None,
    precision: Precision,
    time_limit: float,
) -> None:
    from kresp3d.system.errors import UsageError

    if out is None or not out.endswith(".parquet"):
        raise UsageError("--runner: say where the scores are to be, by --out FILE.parquet")
    if json_file is not None:
        raise UsageError("--json is for predicting without --runner; a pipeline writes --out FILE.parquet")
    from kresp3d.distributed.beam.pipeline import pipeline_options

    options = pipeline_options(runner, beam)
    from kresp3d.distributed.beam.predict import bad_file, find_paths, predict_on

    paths = find_paths(videos)
    click.echo(f"Predicting {len(paths)} videos on {runner}", err=True)
    found = predict_on(options, str(network), paths, out, clips=clips, precision=precision, time_limit=time_limit)
    click.echo(f"{out}: the scores of {found.scored} videos")
    if found.bad:
        raise click.ClickException(f"{found.bad} of {len(paths)} videos could not be decoded; {bad_file(out)} says why")

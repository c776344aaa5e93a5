"""`kresp3d predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kresp3d.cli.options import ANYWHERE, HERE, json_option, precision_option

if TYPE_CHECKING:
    from kresp3d.inference.engine import Precision


@click.command(name="predict")
@click.argument("network", type=ANYWHERE)
@click.argument("videos", nargs=-1, required=True, type=HERE)
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
def command(
    network: Path,
    videos: tuple[Path, ...],
    top: int,
    clips: int | None,
    time_limit: float,
    json_file: Path | None,
    precision: Precision,
) -> None:
    """Name the actions in videos, or in all videos of a folder.

    NETWORK is a run folder or an exported network: a SavedModel's folder, a .tflite, .xml or .onnx file.

    A video that cannot be decoded is reported and does not stop the rest; the exit code is then 1.
    """
    import json

    from rich.console import Console

    from kresp3d.errors import VideoError
    from kresp3d.files import write_text
    from kresp3d.inference.predictor import find_all, predict_videos
    from kresp3d.text import printable, utf8

    paths = find_all(videos)

    from kresp3d.cli.progress import progress_bar
    from kresp3d.data.workers import VideoWorkers
    from kresp3d.inference.open_engine import open_engine

    console, rows, bad = Console(highlight=False, soft_wrap=True), [], 0
    # Started first, since they import while this process loads the network.
    with (
        VideoWorkers(len(paths), imports=["kresp3d.data.video_clips"], time_limit=time_limit) as workers,
        progress_bar("Predicting", "videos") as progress,
    ):
        engine = open_engine(network, precision=precision)
        found = predict_videos(engine, paths, workers, clips=clips or engine.info.clips, top=top)
        for done, (path, result) in enumerate(zip(paths, found, strict=True), 1):
            if isinstance(result, VideoError):
                bad += 1
                rows.append({"path": utf8(path), "error": result.reason})
                click.echo(f"Cannot decode {result}", err=True)
            else:
                rows.append(result.to_json())
                pairs = zip(result.classes, result.scores, strict=True)
                scores = ", ".join(f"{printable(c)} {s:.1%}" for c, s in pairs)
                console.print(f"{printable(path)}: {scores}", markup=False)
            progress(done, len(paths))
    if json_file is not None:
        write_text(json_file, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    if bad:
        raise click.ClickException(f"{bad} of {len(paths)} videos could not be decoded")

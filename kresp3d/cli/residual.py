"""`kresp3d residual`."""

from __future__ import annotations

from pathlib import Path

import click

from kresp3d.cli.options import HERE, check_output, picture_options


@click.command(name="residual")
@click.argument("video", type=HERE)
@picture_options
@click.option(
    "--step",
    "steps",
    type=click.IntRange(1),
    multiple=True,
    default=(1,),
    show_default="1",
    metavar="S",
    help="Step size s in frames. May be repeated: each is a row of its own, or a panel in a video.",
)
@click.option(
    "--fps", type=click.FloatRange(0, 240, min_open=True), default=15, show_default=True, help="Frames a second taken."
)
@click.option(
    "--short-side", type=click.IntRange(16), default=256, show_default=True, help="Of the frames in pixels, at most."
)
@click.option(
    "--frames", type=click.IntRange(1, 100), default=8, show_default=True, help="Frames in a sheet, evenly spread."
)
@click.option(
    "--brighten",
    type=click.FloatRange(0, min_open=True),
    default=4,
    show_default=True,
    help="Factor on the residual frames.",
)
def command(
    video: Path,
    out: Path,
    overwrite: bool,
    steps: tuple[int, ...],
    fps: float,
    short_side: int,
    frames: int,
    brighten: float,
) -> None:
    """Show a video's residual frames |x[t+s] - x[t]|.

    As a sheet with a row of frames and a row for each step, or as a video with the panels side by side. No trained
    network is needed.
    """
    check_output(out, overwrite, video)

    from kresp3d.explain.residual_picture import write_residual
    from kresp3d.ui.progress import progress_bar
    from kresp3d.video.workers import DecoderProcess

    with progress_bar("Drawing", "frames") as progress, DecoderProcess() as decode:
        write_residual(
            video,
            out,
            steps,
            fps=fps,
            short_side=short_side,
            columns=frames,
            brighten=brighten,
            progress=progress,
            decode=decode,
        )
    click.echo(f"{out}")

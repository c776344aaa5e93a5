"""`kresp3d explain`."""

from __future__ import annotations

from pathlib import Path

import click

from kresp3d.cli.options import ANYWHERE, HERE, check_output, picture_options


@click.command(name="explain")
@click.argument("run", type=ANYWHERE)
@click.argument("video", type=HERE)
@picture_options
@click.option(
    "--class", "class_name", metavar="NAME", help="Class whose evidence is shown.  [default: the predicted one]"
)
@click.option(
    "--clips",
    type=click.IntRange(1),
    help="Clips, evenly spread over the video.  [default: one begins every quarter of a clip]",
)
def command(run: Path, video: Path, out: Path, overwrite: bool, class_name: str | None, clips: int | None) -> None:
    """Show what a trained network looks at in a video.

    Frames, residual frames, Grad-CAM, the scores over time and the attention of each stage: side by side as a video, or
    as a sheet. RUN is a run folder.
    """
    check_output(out, overwrite, video)

    from kresp3d.ui.progress import progress_bars
    from kresp3d.video.workers import DecoderProcess

    with (
        progress_bars({"Watching": "clips", "Drawing": "frames"}) as progress,
        DecoderProcess(imports=["kresp3d.records.video_clips"]) as decode,
    ):
        from kresp3d.explain.drawing import explain_video
        from kresp3d.explain.explanation import Explainer, open_run

        explainer = Explainer(open_run(run))
        explain_video(explainer, video, out, class_name=class_name, clips=clips, progress=progress, decode=decode)
    click.echo(f"{out}")

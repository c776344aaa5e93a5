"""Measuring a run's network on one of its splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.config.schema import Config
from kresp3d.evaluation.assessment import Assessment
from kresp3d.evaluation.metrics import Evaluation, evaluate_scores
from kresp3d.evaluation.report import write_report
from kresp3d.inference.engine import Engine
from kresp3d.records.pipeline import evaluation_frames
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError
from kresp3d.system.events import EventLog


def evaluate(
    engine: Engine,
    run: RunFolder,
    *,
    split: str,
    clips: int,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score `clips` clips of every video of a split and average them (paper, Sec. 3).

    Args:
        engine: What computes the scores.
        run: Whose videos, splits and classes are used.
        split: `train`, `validation` or `test`.
        clips: Clips taken uniformly from each video.
        progress: Called with the clips done and all clips.

    Raises:
        KrespError: If the split is empty, its records are gone or damaged, or the network knows other
            classes or takes other clips than the run.
    """
    _check_fit(engine, run)
    # By name: another order of the same classes is another order of the scores.
    columns = [engine.info.labels.index(name) for name in run.classes]
    records = run.records(split)
    batches = evaluation_frames(records, run.records_folder, run.classes, run.config, clips=clips)
    total, done, scores = len(records) * clips, 0, []
    for frames in batches:
        scores.append(engine.probabilities(frames)[:, columns])
        done += len(scores[-1])
        if progress is not None:
            progress(done, total)
    index = {name: number for number, name in enumerate(run.classes)}
    return evaluate_scores(
        np.concatenate(scores),
        np.repeat(np.arange(len(records)), clips),
        np.array([index[record.label] for record in records]),
        run.classes,
        [record.name for record in records],
        split=split,
    )


def _check_fit(engine: Engine, run: RunFolder) -> None:
    """Make sure that a network can be measured on a run's clips.

    Raises:
        KrespError: If it knows other classes, or takes clips that are cut in another way.
    """
    name = f"{engine.info.name} ({engine.info.format})"
    if sorted(engine.info.labels) != sorted(run.classes):
        raise KrespError(
            f"{name} knows {_short(engine.info.labels)}, but the run {run.path} has "
            f"{_short(run.classes)}; measure it on a run with the same classes by --run"
        )
    # A clip of the right shape may still be of another rate or stride, and then the figures would mean nothing.
    takes, cuts = engine.info.clip.model_dump(), ClipFormat.of(run.config).model_dump()
    different = [f"{key} {takes[key]:g} (the run: {cuts[key]:g})" for key in takes if takes[key] != cuts[key]]
    if different:
        raise KrespError(
            f"{name} takes clips of {', '.join(different)}, so clips of the run {run.path} do not fit it; measure "
            "it on a run whose clips are cut alike by --run"
        )


def report(
    run: RunFolder,
    assessment: Assessment,
    *,
    command: str,
    folder: Path | None = None,
    doubts: Sequence[str] = (),
) -> Path:
    """Write the report of an evaluation.

    Args:
        run: Whose videos were used.
        assessment: What was measured.
        command: The command line.
        folder: Where to; by default the run's folder, and then TensorBoard's logs get the figures too.
        doubts: What the reader should know first.

    Returns:
        The path of `report.md`.
    """
    history = run.history_file if run.history_file.is_file() else None
    info = _summary(run.config, run)
    if folder is not None:
        return write_report(folder, assessment, command=command, run_info=info, doubts=doubts)
    with run.disk_errors():
        path = write_report(run.path, assessment, command=command, run_info=info, history=history, doubts=doubts)
        _log(run, assessment.evaluation, step=_epochs(history))
    return path


def _log(run: RunFolder, evaluation: Evaluation, step: int) -> None:
    split = evaluation.split
    with EventLog(run.logs, suffix=split) as log:
        log.scalar(f"clip_top1/{split}", evaluation.clip_top1, step)
        log.scalar(f"video_top1/{split}", evaluation.video_top1, step)
        for row in evaluation.per_class:
            if row.video_top1 is not None:
                log.scalar(f"top1_by_class_{split}/{row.name}", row.video_top1, step)
        log.picture(f"confusion/{split}", (run.path / "figures" / "confusion.png").read_bytes(), step)


def _epochs(history: Path | None) -> int:
    return 0 if history is None else len(history.read_text(encoding="utf-8").splitlines()) - 1


def _summary(config: Config, run: RunFolder) -> dict[str, str]:
    model, training = config.model, config.training
    flags = [name for name in ("attention", "feature_residual", "stem_pool") if getattr(model, name)]
    environment = run.environment
    return {
        "network": f"{model.variant}, modality {model.modality}, width {model.width}, blocks {list(model.blocks)}"
        + (f", {', '.join(flags)}" if flags else ""),
        "clip": f"{model.frames} frames + step {model.step}, {model.size}×{model.size}, "
        f"stride {config.clip.frame_stride} at {config.data.fps:g} fps",
        "training": f"{training.epochs} epochs, batch {training.batch_size}, learning rate {training.learning_rate:g}, "
        f"{training.precision}, seed {config.seed}",
        **{f"phase {number}": f"from epoch {p.first_epoch}: {p}" for number, p in enumerate(run.phases, 2)},
        "videos": config.data.videos,
        "trained with": environment["command"],
        "versions": ", ".join(
            f"{name} {environment['packages'][name]}"
            for name in ("tensorflow", "keras")
            if environment["packages"][name]
        ),
    }


def _short(labels: Sequence[str]) -> str:
    return f"{len(labels)} classes ({', '.join(labels[:3])}{', …' if len(labels) > 3 else ''})"

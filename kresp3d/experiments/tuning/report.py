"""What a sweep leaves for a person: `trials.csv`, `best.yaml`, `report.md` with figures, and TensorBoard's HParams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kresp3d.datasets.splits import count
from kresp3d.evaluation.figures import percent, save
from kresp3d.experiments.tuning.effects import Trial, ValueEffect, is_range, rank, rank_correlation, value_effects
from kresp3d.experiments.tuning.figures import key_figure
from kresp3d.experiments.tuning.oracle import OBJECTIVE
from kresp3d.experiments.tuning.space import SearchSpace, show
from kresp3d.system.events import EventLog
from kresp3d.system.files import remove, write_csv, write_text

#: Rows of the ranking in `report.md`; `trials.csv` has all.
_RANKED = 50


def write_trials(path: Path, trials: Sequence[Trial], space: SearchSpace) -> None:
    """Write one row for each trial, in the order in which they were begun; shares are from 0 to 1.

    The cell of a key that did not matter is empty.
    """
    rows = []
    columns = ["trial", "status", OBJECTIVE, "spread", "scores", "epochs", "seconds", "reason"]
    for trial in trials:
        outcome = trial.outcome
        if outcome is None:
            row = [trial.name, "running", "", "", "", "", "", ""]
        else:
            row = [
                trial.name,
                outcome.status,
                "" if outcome.score is None else f"{outcome.score:.6f}",
                "" if outcome.spread is None else f"{outcome.spread:.6f}",
                " ".join(f"{score:.6f}" for score in outcome.scores),
                str(outcome.epochs),
                f"{outcome.seconds:.1f}",
                outcome.reason,
            ]
        settings = [_cell(trial.settings[key]) if key in trial.settings else "" for key in space.dimensions]
        rows.append([*row, *settings])
    write_csv(path, [*columns, *space.dimensions], rows)


def _cell(value: object) -> str:
    # Numbers in full, unlike in a table for a person.
    return repr(value) if isinstance(value, float) else show(value)


def write_best(path: Path, trials: Sequence[Trial], space: SearchSpace) -> Trial | None:
    """Write the configuration of the best trial, for `kresp3d train`; `None` and no file where no trial ended well."""
    ranked = rank(trials)
    if not ranked:
        return None
    best, base = ranked[0], space.base
    config = space.config(best.settings, base.seed)
    config = config.model_copy(update={"name": f"{base.name}-best", "evaluation": base.evaluation})
    assert best.score is not None
    head = (
        f"# The best of {len(ranked)} finished trials of {space.where}: trial {best.name}, {percent(best.score)} video "
        f"top-1\n# on the validation videos, with {_settings(best)}.\n#\n#   kresp3d train --config {path}\n\n"
    )
    write_text(path, head + config.to_yaml())
    return best


def write_report(folder: Path, trials: Sequence[Trial], space: SearchSpace, *, command: str, seconds: float) -> Path:
    """Write `figures/` and `report.md`.

    Args:
        folder: The sweep's.
        trials: All trials.
        space: The search space.
        command: The command line that made it.
        seconds: How long all trials took together.
    """
    ranked = rank(trials)
    lines = [
        f"# Sweep {space.base.name}",
        "",
        f"    {command}",
        "",
        f"{space.base.tune.oracle} over {', '.join(f'`{key}`' for key in space.dimensions)}: {_counts(trials)}, "
        f"{count(space.base.tune.seeds, 'seed')} each, {seconds / 60:.1f} minutes of trials. Scores are video top-1 on "
        "the validation videos; test videos were not used.",
        "",
        *_ranking(ranked, space),
        *_failed(trials),
    ]
    if ranked:
        lines += ["## What each key does", ""]
        for key in space.dimensions:
            if any(key in trial.settings for trial in ranked):
                save(key_figure(key, trials, space), folder / "figures" / f"{key}.png")
                lines += [f"### {key}", "", f"![{key}](figures/{key}.png)", "", *_effect(key, trials, space), ""]
    path = folder / "report.md"
    write_text(path, "\n".join(lines).rstrip() + "\n")
    return path


def _counts(trials: Sequence[Trial]) -> str:
    statuses = ["running" if trial.outcome is None else trial.outcome.status for trial in trials]
    named = {
        "done": "finished",
        "stopped": "ended early",
        "failed": "failed",
        "lost": "lost",
        "running": "not finished",
    }
    return f"{len(trials)} trials, " + ", ".join(
        f"{statuses.count(status)} {words}" for status, words in named.items() if status in statuses
    )


def _ranking(ranked: Sequence[Trial], space: SearchSpace) -> list[str]:
    if not ranked:
        return ["No trial has ended well.", ""]
    keys = list(space.dimensions)
    has_spread = space.base.tune.seeds > 1
    rows = [
        [
            "",
            "trial",
            *(f"`{key}`" for key in keys),
            "video top-1",
            *(["spread"] if has_spread else []),
            "epochs",
            "time",
        ]
    ]
    rows.append(["---:", "---", *("---" for _ in keys), "---:", *(["---:"] if has_spread else []), "---:", "---:"])
    for place, trial in enumerate(ranked[:_RANKED], 1):
        assert trial.outcome is not None and trial.outcome.score is not None
        spread = ["" if trial.outcome.spread is None else f"± {100 * trial.outcome.spread:.1f}"] if has_spread else []
        settings = [show(trial.settings[key]) if key in trial.settings else "–" for key in keys]
        numbers = [percent(trial.outcome.score), *spread, str(trial.outcome.epochs), f"{trial.outcome.seconds:.0f} s"]
        rows.append([str(place), trial.name, *settings, *numbers])
    more = [f"and {len(ranked) - _RANKED} more in trials.csv", ""] if len(ranked) > _RANKED else []
    return ["## Ranking", "", *_table(rows), "", *more]


def _settings(trial: Trial) -> str:
    return ", ".join(f"{key}={show(value)}" for key, value in trial.settings.items())


def _failed(trials: Sequence[Trial]) -> list[str]:
    rows = [
        [trial.name, _settings(trial), trial.outcome.reason]
        for trial in trials
        if trial.outcome is not None and trial.outcome.status == "failed"
    ]
    return ["## Failed", "", *_table([["trial", "settings", "reason"], ["---"] * 3, *rows]), ""] if rows else []


def _effect(key: str, trials: Sequence[Trial], space: SearchSpace) -> list[str]:
    if is_range(key, space):
        correlation = rank_correlation(key, trials)
        if correlation is None:
            return ["Too few trials for a rank correlation with the score."]
        return [f"Rank correlation with the score: {correlation:+.2f} (Spearman)."]
    effects = value_effects(key, trials, space)
    if len(effects) == 1:
        return [f"Only {show(effects[0].value)} was tried."]
    rows = [["value", "trials", "mean", "spread", f"against {show(effects[0].value)}", "spread", "better in"]]
    rows.append(["---", *["---:"] * 6])
    return _table([*rows, *(_effect_row(effect) for effect in effects)])


def _effect_row(effect: ValueEffect) -> list[str]:
    differences = effect.differences
    better = f"{sum(d > 0 for d in differences)} of {len(differences)}" if differences else ""
    return [
        show(effect.value),
        str(effect.trials),
        percent(effect.mean),
        "" if effect.spread is None else f"± {100 * effect.spread:.1f}",
        "" if effect.difference is None else f"{100 * effect.difference:+.1f}",
        "" if effect.difference_spread is None else f"± {100 * effect.difference_spread:.1f}",
        better,
    ]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]


def write_hparams(folder: Path, trials: Sequence[Trial], space: SearchSpace) -> None:
    """Write the trials for TensorBoard's HParams page, in place of what was there."""
    remove(folder)
    with EventLog(folder) as log:
        log.table(list(space.dimensions), {OBJECTIVE: "video top-1"})
    for trial in rank(trials):
        assert trial.outcome is not None and trial.outcome.score is not None
        with EventLog(folder / trial.name) as log:
            log.hyperparameters(trial.name, trial.settings)
            log.scalar(OBJECTIVE, trial.outcome.score, trial.outcome.epochs)
